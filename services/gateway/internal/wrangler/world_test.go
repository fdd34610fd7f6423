package wrangler_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	secretsv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/secrets/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/wrangler"
)

const (
	goodKey = "lm_mcp_api_good"
	org     = "org_1"
	account = "/api/accounts/mcp-agent-cloud-sdk/workers"
)

// world is the upload service between a registry and a builder that do as told.
type world struct {
	url      string
	app      string
	registry *fakeRegistry
	builder  *fakeBuilder
	secrets  *fakeSecrets
}

func newWorld(t testing.TB, limits wrangler.Limits) *world {
	t.Helper()
	w := &world{app: id.App.New(), registry: &fakeRegistry{}, builder: &fakeBuilder{}, secrets: &fakeSecrets{values: map[string]string{}}}
	conn := grpctest.Serve(t, func(s grpc.ServiceRegistrar) {
		registryv1.RegisterAppsServiceServer(s, w.registry)
		builderv1.RegisterBundlesServiceServer(s, w.builder)
		secretsv1.RegisterSecretsServiceServer(s, w.secrets)
	})
	server := httptest.NewServer(wrangler.New(wrangler.Deps{
		Auth: fakeAuth{}, Registry: registryv1.NewAppsServiceClient(conn), Bundles: builderv1.NewBundlesServiceClient(conn),
		Secrets: secretsv1.NewSecretsServiceClient(conn), Limits: limits,
	}))
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

func (w *world) scripts() string { return account + "/scripts/" + w.app }

// answer is an answer of the dialect.
type answer struct {
	Status  int
	Success bool
	Errors  []struct {
		Code    int
		Message string
	}
	Messages []any
	Result   map[string]any
}

func (w *world) call(t testing.TB, method, path, key, kind string, body io.Reader) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, w.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	a := answer{Status: res.StatusCode}
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil {
		t.Fatalf("%s %s: the answer is no JSON of the dialect: %v", method, path, err)
	}
	return a
}

func (w *world) put(t testing.TB, body string) answer {
	t.Helper()
	return w.call(t, http.MethodPut, w.scripts()+"?excludeScript=true", goodKey, "multipart/form-data; boundary="+boundary, strings.NewReader(body))
}

const boundary = "----formdata-undici-0123"

// form writes a body as the uploader does: the metadata, then each file under its name.
func form(files ...string) string {
	var b strings.Builder
	b.WriteString(part(`name="metadata"`, `{"main_module":"main.py"}`))
	for i := 0; i < len(files); i += 2 {
		name := strings.NewReplacer(`"`, "%22", "\r", "%0D", "\n", "%0A").Replace(files[i])
		b.WriteString(part(fmt.Sprintf(`name="%[1]s"; filename="%[1]s"`, name), files[i+1]))
	}
	return b.String() + "--" + boundary + "--\r\n"
}

func part(params, content string) string {
	return "--" + boundary + "\r\nContent-Disposition: form-data; " + params + "\r\nContent-Type: text/x-python\r\n\r\n" + content + "\r\n"
}

type fakeAuth struct{}

func (fakeAuth) Authenticate(_ context.Context, key string) (principal.Principal, error) {
	if key != goodKey {
		return principal.Principal{}, fault.Unauthenticated.Errorf("the API key is not valid")
	}
	return principal.Principal{Kind: principal.User, UserID: "u_1", OrgID: org}, nil
}

// fakeRegistry lets everybody upload, unless refuse says otherwise.
type fakeRegistry struct {
	registryv1.UnimplementedAppsServiceServer
	refuse error

	mu      sync.Mutex
	records []*registryv1.RecordUploadRequest
}

func (r *fakeRegistry) AuthorizeUpload(ctx context.Context, _ *registryv1.AuthorizeUploadRequest) (*registryv1.AuthorizeUploadResponse, error) {
	return &registryv1.AuthorizeUploadResponse{OrgId: principal.From(ctx).OrgID}, r.refuse
}

func (r *fakeRegistry) RecordUpload(_ context.Context, req *registryv1.RecordUploadRequest) (*registryv1.RecordUploadResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, req)
	return &registryv1.RecordUploadResponse{}, nil
}

func (r *fakeRegistry) recorded() []*registryv1.RecordUploadRequest {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.records)
}

// fakeBuilder keeps what is committed, one bundle per content, as the contract says.
type fakeBuilder struct {
	builderv1.UnimplementedBundlesServiceServer
	refuse error

	mu      sync.Mutex
	bundles []map[string]string // path to content, per commit
	ids     map[string]string   // by digest
	ended   int                 // streams, committed or not
}

func (b *fakeBuilder) UploadBundle(stream grpc.ClientStreamingServer[builderv1.UploadBundleRequest, builderv1.UploadBundleResponse]) error {
	defer func() { b.mu.Lock(); b.ended++; b.mu.Unlock() }()
	if b.refuse != nil {
		return b.refuse
	}
	files, current := map[string]string{}, ""
	for {
		req, err := stream.Recv()
		if err != nil {
			return errors.Join(err, errors.New("no commit"))
		}
		switch step := req.GetStep().(type) {
		case *builderv1.UploadBundleRequest_Header_:
			if step.Header.GetOrgId() != org || !id.App.Valid(step.Header.GetOwner()) {
				return fault.Invalid.Errorf("header %v", step.Header)
			}
		case *builderv1.UploadBundleRequest_File_:
			current = step.File.GetPath()
			files[current] = ""
		case *builderv1.UploadBundleRequest_Chunk:
			files[current] += string(step.Chunk)
		case *builderv1.UploadBundleRequest_Commit_:
			return stream.SendAndClose(b.keep(files))
		}
	}
}

func (b *fakeBuilder) keep(files map[string]string) *builderv1.UploadBundleResponse {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bundles = append(b.bundles, files)
	sum := sha256.New()
	for _, path := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(sum, "%q %q\n", path, files[path])
	}
	digest := hex.EncodeToString(sum.Sum(nil))
	if b.ids == nil {
		b.ids = map[string]string{}
	}
	if b.ids[digest] == "" {
		b.ids[digest] = id.Bundle.New()
	}
	return &builderv1.UploadBundleResponse{BundleId: b.ids[digest], Digest: digest, Files: int32(len(files))} //nolint:gosec // a few
}

func (b *fakeBuilder) committed() []map[string]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.bundles)
}

func (b *fakeBuilder) streams() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ended
}
