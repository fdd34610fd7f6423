// Package embedded keeps secret values in a SQLite file, each sealed by envelope
// encryption: a fresh data key per value, wrapped by a master key that lives in a
// file of mode 0600 outside the database. It is the default on a laptop.
//
// It protects a copied database, not a machine whose key file can be read.
package embedded

import (
	"context"
	"database/sql"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/services/secretsbroker/internal/vault"
)

//go:embed migrations
var migrations embed.FS

// Migrations are the vault's own tables.
func Migrations() fs.FS {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the folder is embedded at compile time
	}
	return sub
}

// Vault is the embedded driver.
type Vault struct {
	db   *sqldb.DB
	seal tink.AEAD
}

var _ vault.Vault = (*Vault)(nil)

// Open returns a Vault on db, sealed with the master key in keyFile, which is made
// when neither it nor any value exists. It fails when values exist but the key
// file does not, since a new key could not open them.
func Open(ctx context.Context, db *sqldb.DB, keyFile string) (*Vault, error) {
	var values int
	if err := db.QueryRow(ctx, `SELECT COUNT(*) FROM vault_values`).Scan(&values); err != nil {
		return nil, fmt.Errorf("count sealed values: %w", err)
	}
	master, err := masterKey(keyFile, values == 0)
	if err != nil {
		return nil, err
	}
	return &Vault{db: db, seal: aead.NewKMSEnvelopeAEAD2(aead.AES256GCMKeyTemplate(), master)}, nil
}

// Put seals value and stores it as the newest version.
func (v *Vault) Put(ctx context.Context, path string, value []byte) (int, error) {
	version := 0
	err := v.db.Tx(ctx, func(tx *sqldb.Tx) error {
		row := tx.QueryRow(ctx, `SELECT COALESCE(MAX(version), 0) + 1 FROM vault_values WHERE path = ?`, path)
		if err := row.Scan(&version); err != nil {
			return fmt.Errorf("next version: %w", err)
		}
		sealed, err := v.seal.Encrypt(value, binding(path, version))
		if err != nil {
			return fmt.Errorf("seal: %w", err)
		}
		_, err = tx.Exec(ctx, `INSERT INTO vault_values (path, version, sealed) VALUES (?, ?, ?)`, path, version, sealed)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("put sealed value: %w", err)
	}
	return version, nil
}

// Get opens the newest version.
func (v *Vault) Get(ctx context.Context, path string) ([]byte, error) {
	return v.open(ctx, path, `SELECT version, sealed FROM vault_values WHERE path = ? ORDER BY version DESC LIMIT 1`, path)
}

// GetVersion opens one version.
func (v *Vault) GetVersion(ctx context.Context, path string, version int) ([]byte, error) {
	return v.open(ctx, path, `SELECT version, sealed FROM vault_values WHERE path = ? AND version = ?`, path, version)
}

func (v *Vault) open(ctx context.Context, path, query string, args ...any) ([]byte, error) {
	var version int
	var sealed []byte
	err := v.db.QueryRow(ctx, query, args...).Scan(&version, &sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fault.NotFound.Errorf("no value is stored there")
	}
	if err != nil {
		return nil, fmt.Errorf("read sealed value: %w", err)
	}
	value, err := v.seal.Decrypt(sealed, binding(path, version))
	if err != nil {
		return nil, fmt.Errorf("open sealed value (is the key file the one it was sealed with?): %w", err)
	}
	return value, nil
}

// Delete forgets all versions.
func (v *Vault) Delete(ctx context.Context, path string) error {
	if _, err := v.db.Exec(ctx, `DELETE FROM vault_values WHERE path = ?`, path); err != nil {
		return fmt.Errorf("delete sealed values: %w", err)
	}
	return nil
}

// Wrap seals a data key; the key's name is bound into the text.
func (v *Vault) Wrap(_ context.Context, key string, plaintext []byte) (string, error) {
	sealed, err := v.seal.Encrypt(plaintext, []byte("wrap:"+key))
	if err != nil {
		return "", fmt.Errorf("wrap: %w", err)
	}
	return base64.StdEncoding.EncodeToString(sealed), nil
}

// Unwrap opens what Wrap sealed.
func (v *Vault) Unwrap(_ context.Context, key, wrapped string) ([]byte, error) {
	sealed, err := base64.StdEncoding.DecodeString(wrapped)
	if err != nil {
		return nil, fault.Invalid.Wrap(err, "the wrapped key is damaged")
	}
	plain, err := v.seal.Decrypt(sealed, []byte("wrap:"+key))
	if err != nil {
		return nil, fault.Invalid.Wrap(err, "the wrapped key is not from this key")
	}
	return plain, nil
}

// Ready is nil: a file is always there.
func (v *Vault) Ready(ctx context.Context) error {
	_, err := v.db.Exec(ctx, `SELECT 1`)
	return err
}

// Run has nothing to keep up.
func (v *Vault) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// binding ties a sealed value to its place, so that rows cannot be swapped.
func binding(path string, version int) []byte {
	return []byte("value:" + path + "#" + strconv.Itoa(version))
}
