package accounts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/store"
)

// The first user of a new cloud.
const (
	bootstrapEmail   = "admin@agentcloud.local"
	bootstrapKeyName = "bootstrap"
)

// credentials are the content of the bootstrap file.
type credentials struct {
	APIKey string `json:"api_key"`
	UserID string `json:"user_id"`
	OrgID  string `json:"org_id"`
}

// Bootstrap sees to it that there is an administrator whose key is in file (mode
// 0600). A key that the store does not honour, or a lost file, gives a new key; the
// old ones of that name are revoked.
func (s *Service) Bootstrap(ctx context.Context, file string) error {
	if file == "" || s.honoured(ctx, file) {
		return nil
	}
	admin, err := s.deps.Store.FindUserByEmail(ctx, bootstrapEmail)
	isNew := fault.NotFound.Is(err)
	if err != nil && !isNew {
		return err
	}
	if isNew {
		admin = store.User{ID: id.User.New(), OrgID: id.Org.New(), Name: "Administrator", Email: bootstrapEmail, Admin: true}
	}
	now := s.deps.Now()
	value, key := newKey(admin.ID, bootstrapKeyName, now, time.Time{})
	err = s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		if !isNew {
			return s.replaceKey(ctx, tx, key)
		}
		if err := s.deps.Store.InsertOrg(ctx, tx, admin.OrgID, "default", now); err != nil {
			return err
		}
		return s.insert(ctx, tx, admin, key, now)
	})
	if err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	return writeCredentials(file, credentials{APIKey: value, UserID: admin.ID, OrgID: admin.OrgID})
}

// honoured says whether the file has a key that works.
func (s *Service) honoured(ctx context.Context, file string) bool {
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	var c credentials
	if err != nil || json.Unmarshal(raw, &c) != nil {
		return false
	}
	_, err = s.Authenticate(ctx, &registryv1.AuthenticateRequest{ApiKey: c.APIKey})
	return err == nil
}

func (s *Service) replaceKey(ctx context.Context, tx *sqldb.Tx, fresh store.Key) error {
	held, err := s.deps.Store.ListKeys(ctx, fresh.UserID, maxKeys)
	if err != nil {
		return err
	}
	for _, old := range held {
		if old.Name != bootstrapKeyName {
			continue
		}
		if _, err := s.deps.Store.RevokeKey(ctx, tx, old.UserID, old.ID); err != nil {
			return err
		}
		if err := bus.Put(ctx, tx, &registryv1.KeyRevoked{KeyId: old.ID}); err != nil {
			return err
		}
	}
	return s.deps.Store.InsertKey(ctx, tx, fresh)
}

func writeCredentials(file string, c credentials) error {
	content, err := json.MarshalIndent(c, "", "  ") //nolint:gosec // this file is where the key is handed out
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	temp := file + ".new"
	if err := os.WriteFile(temp, append(content, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, file)
}
