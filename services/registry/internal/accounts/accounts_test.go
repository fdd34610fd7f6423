package accounts_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/dbtest"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/accounts"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/registrytest"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/store"
)

func TestOnBothDatabases(t *testing.T) {
	t.Parallel()
	cases := map[string]func(*testing.T, *registrytest.World){
		"a key says who calls":        keySaysWho,
		"a key can be revoked":        keyIsRevoked,
		"a key can end by itself":     keyExpires,
		"keys are bounded":            keysAreBounded,
		"administrators add users":    usersAreAdded,
		"bad input is told":           badInputIsTold,
		"only digests are kept":       onlyDigestsAreKept,
		"keys of others are nobody's": keysOfOthers,
	}
	for name, body := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dbtest.Run(t, store.Migrations(), func(t *testing.T, db *sqldb.DB) { body(t, registrytest.New(t, db)) })
		})
	}
}

func newKey(t *testing.T, w *registrytest.World, who principal.Principal, req *registryv1.CreateKeyRequest) *registryv1.CreateKeyResponse {
	t.Helper()
	res, err := w.Accounts.CreateKey(registrytest.As(t, who), req)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func authenticate(t *testing.T, w *registrytest.World, key string) error {
	t.Helper()
	_, err := w.Accounts.Authenticate(t.Context(), &registryv1.AuthenticateRequest{ApiKey: key})
	return err
}

func wantKind(t *testing.T, call string, err error, want fault.Kind) {
	t.Helper()
	if fault.KindOf(err) != want {
		t.Errorf("%s = %v (kind %v), want kind %v", call, err, fault.KindOf(err), want)
	}
}

func keySaysWho(t *testing.T, w *registrytest.World) {
	ann := w.User(t, "ann")
	made := newKey(t, w, ann, &registryv1.CreateKeyRequest{Name: "laptop"})
	if who := w.Who(t, made.GetApiKey()); who.UserID != ann.UserID || who.OrgID != w.Admin.OrgID || who.KeyID != made.GetKey().GetKeyId() || who.Admin {
		t.Errorf("Authenticate() = %+v, want ann", who)
	}
	if key := made.GetKey(); !strings.HasPrefix(made.GetApiKey(), "lm_mcp_api_") || !strings.HasSuffix(made.GetApiKey(), key.GetHint()) || key.GetName() != "laptop" {
		t.Errorf("CreateKey() = %v, want the command line's prefix and a hint", made)
	}
	profile, err := w.Accounts.GetProfile(registrytest.As(t, ann), &registryv1.GetProfileRequest{})
	if err != nil || profile.GetUser().GetEmail() != "ann@example.com" || profile.GetUser().GetName() != "ann" {
		t.Errorf("GetProfile() = %v, %v, want ann", profile, err)
	}
	keys, err := w.Accounts.ListKeys(registrytest.As(t, ann), &registryv1.ListKeysRequest{})
	if err != nil || len(keys.GetKeys()) != 2 || keys.GetKeys()[0].GetName() != "laptop" {
		t.Errorf("ListKeys() = %v, %v, want both, newest first", keys, err)
	}
	for name, key := range map[string]string{
		"no key": "", "no prefix": "x" + made.GetApiKey(), "another letter": made.GetApiKey() + "A",
		"only the prefix": "lm_mcp_api_", "a NUL": "lm_mcp_api_\x00", "a long one": "lm_mcp_api_" + strings.Repeat("A", 1000),
	} {
		wantKind(t, "Authenticate("+name+")", authenticate(t, w, key), fault.Unauthenticated)
	}
}

func keyIsRevoked(t *testing.T, w *registrytest.World) {
	ann := w.User(t, "ann")
	made := newKey(t, w, ann, &registryv1.CreateKeyRequest{})
	req := &registryv1.RevokeKeyRequest{KeyId: made.GetKey().GetKeyId()}
	if _, err := w.Accounts.RevokeKey(registrytest.As(t, ann), req); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "Authenticate(revoked)", authenticate(t, w, made.GetApiKey()), fault.Unauthenticated)
	if events := w.Events(t, &registryv1.KeyRevoked{}); len(events) != 1 || events[0].(*registryv1.KeyRevoked).GetKeyId() != req.GetKeyId() {
		t.Errorf("events = %v, want that the key is revoked", events)
	}
	keys, err := w.Accounts.ListKeys(registrytest.As(t, ann), &registryv1.ListKeysRequest{})
	if err != nil || len(keys.GetKeys()) != 1 {
		t.Errorf("ListKeys() = %v, %v, want the other", keys, err)
	}
}

func keyExpires(t *testing.T, w *registrytest.World) {
	ends := timestamppb.New(w.Clock.Now().Add(time.Hour))
	made := newKey(t, w, w.Admin, &registryv1.CreateKeyRequest{ExpiresAt: ends})
	if err := authenticate(t, w, made.GetApiKey()); err != nil {
		t.Errorf("Authenticate(young key) = %v", err)
	}
	w.Clock.Pass(2 * time.Hour)
	wantKind(t, "Authenticate(old key)", authenticate(t, w, made.GetApiKey()), fault.Unauthenticated)
	_, err := w.Accounts.CreateKey(registrytest.As(t, w.Admin), &registryv1.CreateKeyRequest{ExpiresAt: ends})
	wantKind(t, "CreateKey(in the past)", err, fault.Invalid)
}

func keysAreBounded(t *testing.T, w *registrytest.World) {
	ann := w.User(t, "ann")
	for range 99 {
		newKey(t, w, ann, &registryv1.CreateKeyRequest{})
	}
	_, err := w.Accounts.CreateKey(registrytest.As(t, ann), &registryv1.CreateKeyRequest{})
	wantKind(t, "CreateKey(the 101st)", err, fault.Exhausted)
}

func usersAreAdded(t *testing.T, w *registrytest.World) {
	ann, sue := w.User(t, "ann"), w.Stranger(t, "sue")
	if ann.OrgID != w.Admin.OrgID || ann.Admin || sue.OrgID == w.Admin.OrgID || !sue.Admin {
		t.Errorf("users = %+v, %+v, want one of the organisation and one who administers another", ann, sue)
	}
	_, err := w.Accounts.CreateUser(registrytest.As(t, ann), &registryv1.CreateUserRequest{Name: "eve", Email: "eve@example.com"})
	wantKind(t, "CreateUser of a user", err, fault.Denied)
	_, err = w.Accounts.CreateUser(registrytest.As(t, w.Admin), &registryv1.CreateUserRequest{Name: "Ann", Email: "ANN@example.com", NewOrgName: "other"})
	wantKind(t, "CreateUser(taken address)", err, fault.Exists)
	if n := w.Count(t, "orgs"); n != 2 {
		t.Errorf("there are %d organisations, want 2: a refused user leaves none", n)
	}
}

func badInputIsTold(t *testing.T, w *registrytest.World) {
	user := func(name, email, org string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := w.Accounts.CreateUser(ctx, &registryv1.CreateUserRequest{Name: name, Email: email, NewOrgName: org})
			return err
		}
	}
	key := func(req *registryv1.CreateKeyRequest) func(context.Context) error {
		return func(ctx context.Context) error { _, err := w.Accounts.CreateKey(ctx, req); return err }
	}
	revoke := func(keyID string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := w.Accounts.RevokeKey(ctx, &registryv1.RevokeKeyRequest{KeyId: keyID})
			return err
		}
	}
	tests := map[string]struct {
		call func(context.Context) error
		want fault.Kind
	}{
		"a user without a name":    {user("", "a@example.com", ""), fault.Invalid},
		"a NUL in a user's name":   {user("a\x00", "a@example.com", ""), fault.Invalid},
		"no mail address":          {user("a", "example.com", ""), fault.Invalid},
		"a long mail address":      {user("a", strings.Repeat("a", 400)+"@example.com", ""), fault.Invalid},
		"a NUL in an organisation": {user("a", "a@example.com", "\x00"), fault.Invalid},
		"a long key's name":        {key(&registryv1.CreateKeyRequest{Name: strings.Repeat("x", 201)}), fault.Invalid},
		"a key that ends never":    {key(&registryv1.CreateKeyRequest{ExpiresAt: &timestamppb.Timestamp{Seconds: 1 << 60}}), fault.Invalid},
		"a key of nobody's":        {revoke(id.Key.New()), fault.NotFound},
		"a NUL for a key":          {revoke("key_\x00"), fault.NotFound},
		"no key":                   {revoke(""), fault.NotFound},
	}
	for name, tt := range tests {
		wantKind(t, name, tt.call(registrytest.As(t, w.Admin)), tt.want)
		wantKind(t, name+", by nobody", tt.call(t.Context()), fault.Unauthenticated)
	}
	_, err := w.Accounts.GetProfile(t.Context(), &registryv1.GetProfileRequest{})
	wantKind(t, "GetProfile of nobody", err, fault.Unauthenticated)
	_, err = w.Accounts.ListKeys(t.Context(), &registryv1.ListKeysRequest{})
	wantKind(t, "ListKeys of nobody", err, fault.Unauthenticated)
}

func onlyDigestsAreKept(t *testing.T, w *registrytest.World) {
	made := newKey(t, w, w.Admin, &registryv1.CreateKeyRequest{})
	if w.Holds(t, "api_keys", made.GetApiKey()) || !w.Holds(t, "api_keys", made.GetKey().GetKeyId()) {
		t.Error("the table of keys holds the value of one")
	}
}

func keysOfOthers(t *testing.T, w *registrytest.World) {
	made := newKey(t, w, w.User(t, "ann"), &registryv1.CreateKeyRequest{})
	_, err := w.Accounts.RevokeKey(registrytest.As(t, w.Admin), &registryv1.RevokeKeyRequest{KeyId: made.GetKey().GetKeyId()})
	wantKind(t, "RevokeKey(another's)", err, fault.NotFound)
	if err := authenticate(t, w, made.GetApiKey()); err != nil {
		t.Errorf("Authenticate() = %v, want the key to work still", err)
	}
}

func TestBootstrap(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, store.Migrations(), func(t *testing.T, db *sqldb.DB) {
		people := accounts.NewService(accounts.Deps{Store: store.New(db), Now: time.Now})
		file := filepath.Join(t.TempDir(), "new", "key.json")
		boot := func() string {
			t.Helper()
			if err := people.Bootstrap(t.Context(), file); err != nil {
				t.Fatal(err)
			}
			return registrytest.KeyIn(t, file)
		}
		honoured := func(key string) bool {
			_, err := people.Authenticate(t.Context(), &registryv1.AuthenticateRequest{ApiKey: key})
			return err == nil
		}
		first := boot()
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("Stat(%s) = %v, %v, want mode 0600", file, info.Mode(), err)
		}
		if again := boot(); again != first || !honoured(first) {
			t.Errorf("Bootstrap again gave %q, want the key to stay %q", again, first)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		second := boot()
		if second == first || honoured(first) || !honoured(second) {
			t.Error("Bootstrap after a lost file must give a new key and end the old one")
		}
		if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		if third := boot(); honoured(second) || !honoured(third) {
			t.Error("Bootstrap after a damaged file must give a new key and end the old one")
		}
		if err := people.Bootstrap(t.Context(), ""); err != nil {
			t.Errorf("Bootstrap(no file) = %v, want nothing done", err)
		}
	})
}
