package scheduler

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	commonpb "go.temporal.io/api/common/v1"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/dbtest"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/payloads"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// TestStoresOfValues puts a large value away, fetches it, and meets its loss, in each kind
// of store that payloads.store may name.
func TestStoresOfValues(t *testing.T) {
	for name, address := range map[string]string{"folder": "file://" + filepath.Join(t.TempDir(), "values"), "bucket": bucketOnLoopback(t)} {
		t.Run(name, func(t *testing.T) {
			bucket, err := openBucket(t.Context(), address, "")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = bucket.Close() })
			claims := payloads.NewClaims(bucket, store.New(dbtest.SQLite(t, store.Migrations())), 10, time.Now)
			org, large := id.Org.New(), &commonpb.Payload{Data: bytes.Repeat([]byte("large "), 1<<18)}
			claim, err := claims.Encode(t.Context(), payloads.Scope{OrgID: org, WorkflowID: "w"}, large)
			if err != nil || !payloads.IsClaim(claim) {
				t.Fatalf("Encode = %d bytes, %v, want a claim", len(claim.GetData()), err)
			}
			if got, err := claims.Decode(t.Context(), org, claim); err != nil || !proto.Equal(got, large) {
				t.Errorf("Decode = %d bytes, %v, want the value", len(got.GetData()), err)
			}
			if _, err := claims.Decode(t.Context(), id.Org.New(), claim); !fault.NotFound.Is(err) {
				t.Errorf("another organisation gets %v, want fault.NotFound", err)
			}
			first, err := bucket.List(nil).Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := bucket.Delete(t.Context(), first.Key); err != nil {
				t.Fatal(err)
			}
			if _, err := claims.Decode(t.Context(), org, claim); !fault.NotFound.Is(err) {
				t.Errorf("Decode of what is lost = %v, want fault.NotFound", err)
			}
		})
	}
	if _, err := openBucket(t.Context(), "ftp://values", ""); err == nil {
		t.Error("a store of an unknown kind opens")
	}
}

// bucketOnLoopback is the address of a bucket at a server that speaks S3.
func bucketOnLoopback(t *testing.T) string {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("values"); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(server.Close)
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "none", "AWS_CONFIG_FILE": "/none", "AWS_SHARED_CREDENTIALS_FILE": "/none"} {
		t.Setenv(name, value)
	}
	return fmt.Sprintf("s3://values?region=us-east-1&use_path_style=true&endpoint=%s", server.URL)
}
