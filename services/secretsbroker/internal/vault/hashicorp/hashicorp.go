// Package hashicorp keeps secret values in HashiCorp Vault or OpenBao: a KV
// version 2 engine for values, a transit engine for wrapping keys, AppRole (or a
// token file) to sign in.
//
// It does not set the server up: mounts, policy and role are the operator's.
// The policy it needs is in docs/secrets.md.
package hashicorp

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/secretsbroker/internal/vault"
)

const valueField = "value"

// Vault is the driver.
type Vault struct {
	cfg    Config
	client *api.Client
	log    *slog.Logger
	signed atomic.Bool
}

var _ vault.Vault = (*Vault)(nil)

// New returns a Vault that is usable once Run has signed in.
func New(cfg Config, log *slog.Logger) (*Vault, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	settings := api.DefaultConfig()
	if settings.Error != nil {
		return nil, settings.Error
	}
	settings.Address = cfg.Address
	settings.Timeout = 10 * time.Second
	settings.MaxRetries = 3
	if cfg.CAFile != "" {
		if err := settings.ConfigureTLS(&api.TLSConfig{CACert: cfg.CAFile}); err != nil {
			return nil, fmt.Errorf("hashicorp.ca_file: %w", err)
		}
	}
	client, err := api.NewClient(settings)
	if err != nil {
		return nil, err
	}
	client.ClearToken() // never a token from the operator's own shell
	if cfg.Namespace != "" {
		client.SetNamespace(cfg.Namespace)
	}
	return &Vault{cfg: cfg, client: client, log: log}, nil
}

// Put writes a new version.
func (v *Vault) Put(ctx context.Context, at string, value []byte) (int, error) {
	data := map[string]any{valueField: base64.StdEncoding.EncodeToString(value)}
	secret, err := v.kv().Put(ctx, v.path(at), data)
	if err != nil {
		return 0, v.unusable(err)
	}
	return secret.VersionMetadata.Version, nil
}

// Get reads the newest version.
func (v *Vault) Get(ctx context.Context, at string) ([]byte, error) {
	secret, err := v.kv().Get(ctx, v.path(at))
	return v.value(secret, err)
}

// GetVersion reads one version.
func (v *Vault) GetVersion(ctx context.Context, at string, version int) ([]byte, error) {
	secret, err := v.kv().GetVersion(ctx, v.path(at), version)
	return v.value(secret, err)
}

func (v *Vault) value(secret *api.KVSecret, err error) ([]byte, error) {
	if errors.Is(err, api.ErrSecretNotFound) || err == nil && secret.Data == nil {
		return nil, fault.NotFound.Errorf("no value is stored there")
	}
	if err != nil {
		return nil, v.unusable(err)
	}
	text, ok := secret.Data[valueField].(string)
	if !ok {
		return nil, errors.New("the vault's entry was not written by this broker")
	}
	return base64.StdEncoding.DecodeString(text)
}

// Delete forgets all versions and their metadata.
func (v *Vault) Delete(ctx context.Context, at string) error {
	if err := v.kv().DeleteMetadata(ctx, v.path(at)); err != nil {
		return v.unusable(err)
	}
	return nil
}

// Wrap encrypts under the transit key, which the server makes at its first use.
func (v *Vault) Wrap(ctx context.Context, key string, plaintext []byte) (string, error) {
	return v.transit(ctx, "encrypt", key, "ciphertext", map[string]any{
		"plaintext": base64.StdEncoding.EncodeToString(plaintext),
	})
}

// Unwrap reverses Wrap.
func (v *Vault) Unwrap(ctx context.Context, key, wrapped string) ([]byte, error) {
	text, err := v.transit(ctx, "decrypt", key, "plaintext", map[string]any{"ciphertext": wrapped})
	var response *api.ResponseError
	if errors.As(err, &response) && response.StatusCode == http.StatusBadRequest {
		return nil, fault.Invalid.Wrap(err, "the wrapped key is not from this key")
	}
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(text)
}

func (v *Vault) transit(ctx context.Context, verb, key, field string, data map[string]any) (string, error) {
	at := path.Join(v.cfg.TransitMount, verb, v.cfg.Prefix+"-"+key)
	secret, err := v.client.Logical().WriteWithContext(ctx, at, data)
	if err != nil {
		return "", v.unusable(err)
	}
	text, ok := secret.Data[field].(string)
	if !ok {
		return "", fmt.Errorf("transit %s answered without %s", verb, field)
	}
	return text, nil
}

// Ready fails until signed in and while the server is sealed or away.
func (v *Vault) Ready(ctx context.Context) error {
	if !v.signed.Load() {
		return errors.New("not signed in to the vault")
	}
	health, err := v.client.Sys().HealthWithContext(ctx)
	if err != nil {
		return fmt.Errorf("the vault does not answer: %w", err)
	}
	if health.Sealed {
		return errors.New("the vault is sealed")
	}
	return v.mounted(ctx)
}

// mounted reads what is not there, raw: the client hides the reason otherwise.
func (v *Vault) mounted(ctx context.Context) error {
	res, err := v.client.Logical().ReadRawWithContext(ctx, path.Join(v.cfg.KVMount, "data", v.path("ready")))
	if res != nil {
		_ = res.Body.Close()
	}
	if notMounted(err) {
		return v.needsMount()
	}
	return nil // the store's own calls say what else is wrong
}

// notMounted tells a missing engine from a missing entry: only the former's answer has
// a text.
func notMounted(err error) bool {
	var response *api.ResponseError
	return errors.As(err, &response) && response.StatusCode == http.StatusNotFound && len(response.Errors) > 0
}

func (v *Vault) needsMount() error {
	return fmt.Errorf("the vault has no KV version 2 engine at %s: `vault secrets enable -path=%[1]s -version=2 kv`, or set hashicorp.kv_mount", v.cfg.KVMount)
}

func (v *Vault) kv() *api.KVv2            { return v.client.KVv2(v.cfg.KVMount) }
func (v *Vault) path(at string) string    { return path.Join(v.cfg.Prefix, at) }
func (v *Vault) token(secret *api.Secret) { v.client.SetToken(secret.Auth.ClientToken) }

// unusable tells a server that is away or refuses us (to be waited out) from the rest.
func (v *Vault) unusable(err error) error {
	var response *api.ResponseError
	if !errors.As(err, &response) {
		return fault.Unavailable.Wrap(err, "the secret store does not answer; try again")
	}
	if notMounted(err) {
		return fault.Unavailable.Wrap(v.needsMount(), "the secret store is not set up; see the log of secretsbroker")
	}
	switch response.StatusCode {
	case http.StatusForbidden, http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusTooManyRequests:
		return fault.Unavailable.Wrap(err, "the secret store refuses the broker at the moment; try again")
	}
	return err
}

// tokenOf reads the token a sidecar keeps fresh.
func tokenOf(file string) (*api.Secret, error) {
	token, err := credential(file)
	if err != nil {
		return nil, err
	}
	return &api.Secret{Auth: &api.SecretAuth{ClientToken: token}}, nil
}
