package secrets_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/dbtest"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	secretsv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/secrets/v1"
	"github.com/mcpagentcloud/agentcloud/services/secretsbroker/internal/secrets"
	"github.com/mcpagentcloud/agentcloud/services/secretsbroker/internal/store"
	"github.com/mcpagentcloud/agentcloud/services/secretsbroker/internal/vault"
	"github.com/mcpagentcloud/agentcloud/services/secretsbroker/internal/vault/embedded"
)

var (
	ann   = principal.Principal{Kind: principal.User, UserID: "u_ann", OrgID: "org_a"}
	boss  = principal.Principal{Kind: principal.User, UserID: "u_boss", OrgID: "org_a", Admin: true}
	peer  = principal.Principal{Kind: principal.User, UserID: "u_peer", OrgID: "org_a"}
	other = principal.Principal{Kind: principal.User, UserID: "u_other", OrgID: "org_b", Admin: true}
	room  = principal.Principal{Kind: principal.Service, Name: "scheduler", OrgID: "org_a"}
)

// fixture is a service on a real socket, a real database and a real vault.
type fixture struct {
	client  secretsv1.SecretsServiceClient
	service *secrets.Service
	store   *store.Store
	vault   *brittle
	now     time.Time
}

// brittle is a vault that can be made to fail.
type brittle struct {
	vault.Vault
	fail error
}

func (b *brittle) Put(ctx context.Context, path string, value []byte) (int, error) {
	if b.fail != nil {
		return 0, b.fail
	}
	return b.Vault.Put(ctx, path, value)
}

func (b *brittle) Delete(ctx context.Context, path string) error {
	if b.fail != nil {
		return b.fail
	}
	return b.Vault.Delete(ctx, path)
}

func newFixture(t *testing.T, db *sqldb.DB) *fixture {
	t.Helper()
	dir := t.TempDir()
	values, err := sqldb.Open(t.Context(), "sqlite:"+filepath.Join(dir, "vault.db"), embedded.Migrations())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = values.Close() })
	sealed, err := embedded.Open(t.Context(), values, filepath.Join(dir, "key.json"))
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{store: store.New(db), vault: &brittle{Vault: sealed}, now: time.Now()}
	f.service = secrets.NewService(secrets.Deps{Store: f.store, Vault: f.vault, Log: grpctest.Logger(t), Now: func() time.Time { return f.now }})
	f.client = secretsv1.NewSecretsServiceClient(grpctest.Serve(t, func(s grpc.ServiceRegistrar) {
		secretsv1.RegisterSecretsServiceServer(s, f.service)
	}))
	return f
}

func (f *fixture) create(t *testing.T, who principal.Principal, name, kind, value string) string {
	t.Helper()
	res, err := f.client.CreateSecret(principal.With(t.Context(), who), &secretsv1.CreateSecretRequest{Name: name, Type: kind, Value: value})
	if err != nil {
		t.Fatal(err)
	}
	return res.GetSecret().GetSecretId()
}

func TestOnBothDatabases(t *testing.T) {
	t.Parallel()
	cases := map[string]func(*testing.T, *fixture){
		"a value comes back and can be replaced": valueComesBack,
		"only who may manage it sees a secret":   onlyManagersSee,
		"lists are filtered and paged":           listsArePaged,
		"agents get their organisation's values": agentsGetValues,
		"bad handles are named":                  badHandlesAreNamed,
		"only the scheduler reads for agents":    onlyTheSchedulerResolves,
		"a half-made secret is forgotten":        halfMadeIsForgotten,
		"a half-done deletion is finished":       deletionIsFinished,
	}
	for name, body := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dbtest.Run(t, store.Migrations(), func(t *testing.T, db *sqldb.DB) { body(t, newFixture(t, db)) })
		})
	}
}

func valueComesBack(t *testing.T, f *fixture) {
	handle := f.create(t, ann, "openai.api_key", "dev", "first")
	if !id.Secret.Valid(handle) {
		t.Fatalf("CreateSecret() gave handle %q", handle)
	}
	ctx := principal.With(t.Context(), ann)
	if _, err := f.client.SetSecretValue(ctx, &secretsv1.SetSecretValueRequest{SecretId: handle, Value: "second"}); err != nil {
		t.Fatal(err)
	}
	res, err := f.client.GetSecretValue(ctx, &secretsv1.GetSecretValueRequest{SecretId: handle})
	if err != nil || res.GetValue() != "second" {
		t.Fatalf("GetSecretValue() = %v, %v, want second", res, err)
	}
	if _, err := f.client.DeleteSecret(ctx, &secretsv1.DeleteSecretRequest{SecretId: handle}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.client.GetSecretValue(ctx, &secretsv1.GetSecretValueRequest{SecretId: handle}); !fault.NotFound.Is(err) {
		t.Fatalf("GetSecretValue(deleted) = %v, want not found", err)
	}
}

func onlyManagersSee(t *testing.T, f *fixture) {
	dev, usr := f.create(t, ann, "a", "dev", "x"), f.create(t, ann, "b", "usr", "x")
	tests := map[string]struct {
		who      principal.Principal
		dev, usr bool
	}{
		"the creator":                   {ann, true, true},
		"an administrator":              {boss, true, false},
		"a colleague":                   {peer, false, false},
		"another organisation's":        {other, false, false},
		"somebody whom nobody vouches":  {principal.Principal{}, false, false},
		"an anonymous caller of an app": {principal.Principal{Kind: principal.Anonymous, OrgID: "org_a"}, false, false},
	}
	for name, tt := range tests {
		for handle, may := range map[string]bool{dev: tt.dev, usr: tt.usr} {
			ctx := principal.With(t.Context(), tt.who)
			_, get := f.client.GetSecretValue(ctx, &secretsv1.GetSecretValueRequest{SecretId: handle})
			_, set := f.client.SetSecretValue(ctx, &secretsv1.SetSecretValueRequest{SecretId: handle, Value: "y"})
			if (get == nil) != may || (set == nil) != may {
				t.Errorf("%s: get = %v, set = %v, want allowed = %v", name, get, set, may)
			}
		}
	}
}

func listsArePaged(t *testing.T, f *fixture) {
	for _, name := range []string{"apps/1/env/B", "apps/1/env/A", "apps/2/env/A", "100%_real"} {
		f.create(t, ann, name, "dev", "x")
	}
	f.create(t, peer, "apps/1/env/HIDDEN", "dev", "x")
	tests := map[string]struct{ filter, want string }{
		"by prefix":           {"apps/1/env/", "apps/1/env/A apps/1/env/B"},
		"wildcards are plain": {"%_", "100%_real"},
		"all":                 {"", "100%_real apps/1/env/A apps/1/env/B apps/2/env/A"},
	}
	for name, tt := range tests {
		var names []string
		token := ""
		for range 10 {
			res, err := f.client.ListSecrets(principal.With(t.Context(), ann),
				&secretsv1.ListSecretsRequest{NameFilter: tt.filter, PageSize: 1, PageToken: token})
			if err != nil {
				t.Fatal(err)
			}
			for _, secret := range res.GetSecrets() {
				names = append(names, secret.GetName())
			}
			if token = res.GetNextPageToken(); token == "" {
				break
			}
		}
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("%s: ListSecrets(%q) = %q, want %q", name, tt.filter, got, tt.want)
		}
	}
}

func agentsGetValues(t *testing.T, f *fixture) {
	one, two := f.create(t, ann, "a", "dev", "1"), f.create(t, peer, "b", "usr", "2")
	ctx := principal.With(t.Context(), room)
	res, err := f.client.ResolveHandles(ctx, &secretsv1.ResolveHandlesRequest{OrgId: "org_a", Handles: []string{one, two}})
	if err != nil || res.GetValues()[one] != "1" || res.GetValues()[two] != "2" {
		t.Fatalf("ResolveHandles() = %d values, %v", len(res.GetValues()), err)
	}
	stranger := room
	stranger.OrgID = "org_b"
	_, err = f.client.ResolveHandles(principal.With(t.Context(), stranger), &secretsv1.ResolveHandlesRequest{OrgId: "org_b", Handles: []string{one}})
	if !fault.NotFound.Is(err) {
		t.Fatalf("ResolveHandles() for another organisation = %v, want not found", err)
	}
}

func onlyTheSchedulerResolves(t *testing.T, f *fixture) {
	handle := f.create(t, ann, "a", "dev", "1")
	for name, caller := range map[string]principal.Principal{
		"nobody":                       {},
		"its creator":                  ann,
		"an administrator":             boss,
		"an agent":                     {Kind: principal.Agent, OrgID: "org_a", AppID: "app_1"},
		"another room":                 {Kind: principal.Service, Name: "gateway", OrgID: "org_a"},
		"a user called scheduler":      {Kind: principal.User, Name: "scheduler", UserID: "u_ann", OrgID: "org_a"},
		"it, for all organisations":    {Kind: principal.Service, Name: "scheduler"},
		"it, for another organisation": {Kind: principal.Service, Name: "scheduler", OrgID: "org_b"},
	} {
		res, err := f.client.ResolveHandles(principal.With(t.Context(), caller), &secretsv1.ResolveHandlesRequest{OrgId: "org_a", Handles: []string{handle}})
		if !fault.Denied.Is(err) || len(res.GetValues()) != 0 {
			t.Errorf("%s: ResolveHandles() = %d values, %v, want denied", name, len(res.GetValues()), err)
		}
	}
}

func badHandlesAreNamed(t *testing.T, f *fixture) {
	shared, own, bad := f.create(t, ann, "a", "dev", "1"), f.create(t, ann, "b", "usr", "2"), id.Secret.New()
	for name, tt := range map[string]struct {
		caller principal.Principal
		org    string
		want   string
	}{
		"its owner":              {ann, "org_a", bad},
		"a colleague":            {peer, "org_a", own + " " + bad},
		"an administrator":       {boss, "org_a", own + " " + bad},
		"the scheduler":          {room, "org_a", bad},
		"nobody":                 {principal.Principal{}, "org_a", own + " " + bad},
		"another organisation":   {other, "org_b", shared + " " + own + " " + bad},
		"a room for another one": {principal.Principal{Kind: principal.Service, Name: "scheduler", OrgID: "org_b"}, "org_b", shared + " " + own + " " + bad},
	} {
		res, err := f.client.CheckHandles(principal.With(t.Context(), tt.caller), &secretsv1.CheckHandlesRequest{OrgId: tt.org, Handles: []string{shared, own, bad}})
		if got := strings.Join(res.GetUnknown(), " "); err != nil || got != tt.want {
			t.Errorf("%s: CheckHandles() = %q, %v, want %q", name, got, err, tt.want)
		}
	}
}

func halfMadeIsForgotten(t *testing.T, f *fixture) {
	f.vault.fail = fault.Unavailable.Errorf("the vault is away")
	ctx := principal.With(t.Context(), ann)
	_, err := f.client.CreateSecret(ctx, &secretsv1.CreateSecretRequest{Name: "a", Type: "dev", Value: "x"})
	if !fault.Unavailable.Is(err) {
		t.Fatalf("CreateSecret() = %v, want unavailable", err)
	}
	list, err := f.client.ListSecrets(ctx, &secretsv1.ListSecretsRequest{})
	if err != nil || len(list.GetSecrets()) != 0 {
		t.Fatalf("ListSecrets() = %v, %v, want none", list, err)
	}
	f.vault.fail = nil
	f.wantUnfinished(t, 1)
	f.sweep(t)
	f.wantUnfinished(t, 0)
}

func deletionIsFinished(t *testing.T, f *fixture) {
	handle := f.create(t, ann, "a", "dev", "x")
	f.vault.fail = fault.Unavailable.Errorf("the vault is away")
	_, err := f.client.DeleteSecret(principal.With(t.Context(), ann), &secretsv1.DeleteSecretRequest{SecretId: handle})
	if !fault.Unavailable.Is(err) {
		t.Fatalf("DeleteSecret() = %v, want unavailable", err)
	}
	f.vault.fail = nil
	f.sweep(t)
	f.wantUnfinished(t, 0)
	if _, err := f.vault.Get(t.Context(), "org_a/"+handle); !fault.NotFound.Is(err) {
		t.Fatalf("the value is still there: %v", err)
	}
}

func (f *fixture) sweep(t *testing.T) {
	t.Helper()
	f.now = f.now.Add(time.Hour)
	if err := f.service.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) wantUnfinished(t *testing.T, want int) {
	t.Helper()
	records, err := f.store.Unfinished(t.Context(), f.now.Add(24*time.Hour), 10)
	if err != nil || len(records) != want {
		t.Fatalf("%d unfinished records, %v, want %d", len(records), err, want)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	f := newFixture(t, dbtest.SQLite(t, store.Migrations()))
	tests := map[string]struct {
		req  *secretsv1.CreateSecretRequest
		want fault.Kind
	}{
		"no name":       {&secretsv1.CreateSecretRequest{Type: "dev", Value: "x"}, fault.Invalid},
		"unknown type":  {&secretsv1.CreateSecretRequest{Name: "a", Type: "prod", Value: "x"}, fault.Invalid},
		"no value":      {&secretsv1.CreateSecretRequest{Name: "a", Type: "dev"}, fault.Invalid},
		"too long":      {&secretsv1.CreateSecretRequest{Name: "a", Type: "dev", Value: strings.Repeat("x", 64<<10+1)}, fault.TooLarge},
		"name too long": {&secretsv1.CreateSecretRequest{Name: strings.Repeat("n", 513), Type: "dev", Value: "x"}, fault.Invalid},
	}
	for name, tt := range tests {
		if _, err := f.client.CreateSecret(principal.With(t.Context(), ann), tt.req); !tt.want.Is(err) {
			t.Errorf("%s: CreateSecret() = %v, want kind %d", name, err, tt.want)
		}
	}
	_, err := f.client.ListSecrets(principal.With(t.Context(), ann), &secretsv1.ListSecretsRequest{PageToken: "%%%"})
	if !fault.Invalid.Is(err) {
		t.Errorf("ListSecrets(damaged token) = %v, want invalid", err)
	}
}
