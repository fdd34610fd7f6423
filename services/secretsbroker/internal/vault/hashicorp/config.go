package hashicorp

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Config says where the vault is and how to sign in.
type Config struct {
	// Address of the server, for example "https://vault.internal:8200".
	Address string `koanf:"address"`
	// Namespace of Vault Enterprise or OpenBao; empty: none.
	Namespace string `koanf:"namespace"`
	// CAFile holds the certificates to trust; empty: the machine's.
	CAFile string `koanf:"ca_file"`
	// KVMount is where a KV version 2 engine is mounted.
	KVMount string `koanf:"kv_mount"`
	// TransitMount is where a transit engine is mounted.
	TransitMount string `koanf:"transit_mount"`
	// Prefix comes before every path and key name, so that several clouds share a server.
	Prefix string `koanf:"prefix"`
	// RoleIDFile holds the AppRole's role id; it is read anew at each sign-in.
	RoleIDFile string `koanf:"role_id_file"`
	// SecretIDFile holds its secret id; it is read anew at each sign-in.
	SecretIDFile string `koanf:"secret_id_file"`
	// AppRoleMount is where the AppRole method is mounted.
	AppRoleMount string `koanf:"approle_mount"`
	// TokenFile holds a token, for a sidecar (Vault Agent) that renews it. Used when RoleIDFile is empty.
	TokenFile string `koanf:"token_file"`
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
