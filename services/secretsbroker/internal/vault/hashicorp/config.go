package hashicorp

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Config says where the vault is and how to sign in.
type Config struct {
	Address      string `koanf:"address" help:"of the server, for example https://vault.internal:8200"`
	Namespace    string `koanf:"namespace" help:"of Vault Enterprise or OpenBao; empty: none"`
	CAFile       string `koanf:"ca_file" help:"certificates to trust; empty: the machine's"`
	KVMount      string `koanf:"kv_mount" help:"where a KV version 2 engine is mounted"`
	TransitMount string `koanf:"transit_mount" help:"where a transit engine is mounted"`
	Prefix       string `koanf:"prefix" help:"comes before every path and key name, so that several clouds share a server"`
	RoleIDFile   string `koanf:"role_id_file" help:"file with the AppRole's role id, read anew at each sign-in"`
	SecretIDFile string `koanf:"secret_id_file" help:"file with its secret id, read anew at each sign-in"`
	AppRoleMount string `koanf:"approle_mount" help:"where the AppRole method is mounted"`
	TokenFile    string `koanf:"token_file" help:"file with a token that a sidecar (Vault Agent) renews; used when role_id_file is empty"`
}

// Defaults are the mounts that Vault's own documentation uses.
func Defaults() Config {
	return Config{KVMount: "secret", TransitMount: "transit", AppRoleMount: "approle", Prefix: "agentcloud"}
}

// Validate says what is missing.
func (c Config) Validate() error {
	switch {
	case c.Address == "":
		return errors.New("hashicorp.address is needed, for example https://vault.internal:8200")
	case c.RoleIDFile == "" && c.TokenFile == "":
		return errors.New("hashicorp needs role_id_file and secret_id_file (AppRole), or token_file")
	case c.RoleIDFile != "" && c.SecretIDFile == "":
		return errors.New("hashicorp.secret_id_file is needed beside role_id_file")
	}
	return nil
}

// credential reads a file that holds one credential. The content never gets into an error.
func credential(file string) (string, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read credential: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}
