// Package vault is the small interface behind which secret values are kept, and
// the vocabulary its drivers share.
//
// It knows paths and bytes. It does not know who owns a secret or who may read it.
package vault

import "context"

// A Vault keeps values by path, each with its earlier versions, and wraps keys
// for others. All drivers pass vaulttest.Run.
type Vault interface {
	// Put stores value as the newest version at path and returns the version's
	// number, which starts at 1 and grows by 1.
	Put(ctx context.Context, path string, value []byte) (int, error)
	// Get returns the newest value at path. It fails with fault.NotFound when there
	// is none.
	Get(ctx context.Context, path string) ([]byte, error)
	// GetVersion returns one version of the value at path. It fails with
	// fault.NotFound when there is none.
	GetVersion(ctx context.Context, path string, version int) ([]byte, error)
	// Delete forgets path with all its versions. Deleting nothing is no error.
	Delete(ctx context.Context, path string) error
	// Wrap encrypts a short plaintext (a data key) under the named key, which is
	// made at its first use.
	Wrap(ctx context.Context, key string, plaintext []byte) (string, error)
	// Unwrap reverses Wrap. It fails with fault.Invalid when the text is not from
	// that key.
	Unwrap(ctx context.Context, key, wrapped string) ([]byte, error)
	// Ready fails with a sentence while the vault cannot answer.
	Ready(ctx context.Context) error
	// Run keeps the vault usable (leases, connections) until ctx ends.
	Run(ctx context.Context) error
}
