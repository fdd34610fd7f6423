package hashicorp

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/vault/api"
)

const (
	signInBackoff = 2 * time.Second
	tokenFileRead = 30 * time.Second
)

// Run signs in, keeps the lease alive, and signs in again when it has ended.
func (v *Vault) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		lease, err := v.signIn(ctx)
		if err != nil {
			v.signed.Store(false)
			v.log.WarnContext(ctx, "no sign-in at the vault; trying again", "address", v.cfg.Address, "error", err)
			pause(ctx, signInBackoff)
			continue
		}
		v.token(lease)
		v.signed.Store(true)
		v.keep(ctx, lease)
	}
	return nil
}

func (v *Vault) signIn(ctx context.Context) (*api.Secret, error) {
	if v.cfg.RoleIDFile == "" {
		return tokenOf(v.cfg.TokenFile)
	}
	role, err := credential(v.cfg.RoleIDFile)
	if err != nil {
		return nil, err
	}
	secretID, err := credential(v.cfg.SecretIDFile)
	if err != nil {
		return nil, err
	}
	at := "auth/" + v.cfg.AppRoleMount + "/login"
	secret, err := v.client.Logical().WriteWithContext(ctx, at, map[string]any{"role_id": role, "secret_id": secretID})
	if err != nil {
		return nil, fmt.Errorf("AppRole sign-in: %w", err)
	}
	if secret == nil || secret.Auth == nil {
		return nil, fmt.Errorf("AppRole sign-in at %s gave no token", at)
	}
	return secret, nil
}

// keep returns when a new sign-in is due.
func (v *Vault) keep(ctx context.Context, lease *api.Secret) {
	if !lease.Auth.Renewable {
		pause(ctx, notRenewable(lease))
		return
	}
	watcher, err := v.client.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: lease})
	if err != nil {
		pause(ctx, signInBackoff)
		return
	}
	go watcher.Start()
	defer watcher.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-watcher.DoneCh(): //nolint:errcheck // whatever ended the lease, a new sign-in is due
			return
		case <-watcher.RenewCh():
		}
	}
}

// notRenewable is when to sign in anew without a renewable lease: before two
// thirds of it are over, or soon for a token file, which a sidecar rewrites.
func notRenewable(lease *api.Secret) time.Duration {
	if lease.Auth.LeaseDuration > 0 {
		return time.Duration(lease.Auth.LeaseDuration) * time.Second * 2 / 3
	}
	return tokenFileRead
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
