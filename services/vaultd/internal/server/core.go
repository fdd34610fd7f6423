package server

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/hashicorp/go-hclog"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/audit"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/logical/transit"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical"
	"github.com/hashicorp/vault/sdk/physical/file"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

var (
	engines = map[string]logical.Factory{"kv": kv.Factory, "transit": transit.Factory}
	methods = map[string]logical.Factory{"approle": approle.Factory}
)

func newCore(cfg Config, address string, log hclog.Logger) (*vault.Core, error) {
	storage, err := newStorage(cfg.Data, log)
	if err != nil {
		return nil, err
	}
	return vault.NewCore(&vault.CoreConfig{
		Physical: storage, StorageType: "file", RedirectAddr: address, Logger: log, DisableMlock: true,
		LogicalBackends: engines, CredentialBackends: methods, BuiltinRegistry: registry{},
		AuditBackends: map[string]audit.Factory{"file": audit.NewFileBackend},
	})
}

func newStorage(dir string, log hclog.Logger) (physical.Backend, error) {
	if dir == "" {
		return inmem.NewInmem(nil, log)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return file.NewFileBackend(map[string]string{"path": filepath.Join(dir, "storage")}, log)
}

// keys open the vault; they lie beside what they open.
type keys struct {
	Unseal    []byte `json:"unseal"`
	RootToken string `json:"root_token"`
}

// open makes the vault at the first start and unseals it at each.
func open(ctx context.Context, core *vault.Core, dir string) (keys, error) {
	known, err := readKeys(dir)
	if errors.Is(err, fs.ErrNotExist) {
		known, err = initialize(ctx, core, dir)
	}
	if err != nil {
		return known, err
	}
	unsealed, err := core.Unseal(slices.Clone(known.Unseal)) // it wipes what it is given
	if err == nil && !unsealed {
		err = errors.New("the kept key does not unseal the vault")
	}
	return known, err
}

func readKeys(dir string) (keys, error) {
	var known keys
	if dir == "" {
		return known, fs.ErrNotExist
	}
	raw, err := os.ReadFile(keyFile(dir))
	if err != nil {
		return known, err
	}
	return known, json.Unmarshal(raw, &known)
}

func initialize(ctx context.Context, core *vault.Core, dir string) (keys, error) {
	one := &vault.SealConfig{SecretShares: 1, SecretThreshold: 1}
	made, err := core.Initialize(ctx, &vault.InitParams{BarrierConfig: one, RecoveryConfig: one})
	if err != nil {
		return keys{}, err
	}
	known := keys{Unseal: made.SecretShares[0], RootToken: made.RootToken}
	if dir == "" {
		return known, nil
	}
	return known, writeJSON(keyFile(dir), known)
}

func keyFile(dir string) string { return filepath.Join(dir, "keys.json") }

// registry tells the core which plugins are part of the program.
type registry struct{}

func (registry) of(kind consts.PluginType) map[string]logical.Factory {
	switch kind {
	case consts.PluginTypeSecrets:
		return engines
	case consts.PluginTypeCredential:
		return methods
	default:
		return nil
	}
}

// Get returns a plugin's factory.
func (r registry) Get(name string, kind consts.PluginType) (func() (any, error), bool) {
	factory, ok := r.of(kind)[name]
	return func() (any, error) { return factory, nil }, ok
}

// Contains says whether a plugin is there.
func (r registry) Contains(name string, kind consts.PluginType) bool {
	_, ok := r.of(kind)[name]
	return ok
}

// Keys lists the plugins of a kind.
func (r registry) Keys(kind consts.PluginType) []string {
	return slices.Collect(maps.Keys(r.of(kind)))
}

// DeprecationStatus says that no plugin is deprecated.
func (r registry) DeprecationStatus(name string, kind consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, r.Contains(name, kind)
}

// IsBuiltinEntPlugin is false: nothing of Vault Enterprise is here.
func (registry) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }
