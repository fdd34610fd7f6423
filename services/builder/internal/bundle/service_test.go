package bundle_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/dbtest"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/bundle"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/disk"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/store"
)

type world struct {
	disk   *disk.Disk
	client builderv1.BundlesServiceClient
}

func newWorld(t *testing.T, limits bundle.Limits) *world {
	t.Helper()
	d, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	var n atomic.Int64
	service := bundle.NewService(bundle.Deps{
		Store: store.New(dbtest.SQLite(t, store.Migrations())), Disk: d, Limits: limits, Timeout: time.Minute, Now: time.Now,
		NewID: func() string { return fmt.Sprint("bdl_", n.Add(1)) },
	})
	conn := grpctest.Serve(t, func(r grpc.ServiceRegistrar) { builderv1.RegisterBundlesServiceServer(r, service) })
	return &world{disk: d, client: builderv1.NewBundlesServiceClient(conn)}
}

type file struct{ path, text string }

func header(owner string) *builderv1.UploadBundleRequest {
	return &builderv1.UploadBundleRequest{Step: &builderv1.UploadBundleRequest_Header_{
		Header: &builderv1.UploadBundleRequest_Header{OrgId: "org_1", Owner: owner},
	}}
}

func steps(files ...file) []*builderv1.UploadBundleRequest {
	var all []*builderv1.UploadBundleRequest
	for _, f := range files {
		all = append(all, &builderv1.UploadBundleRequest{Step: &builderv1.UploadBundleRequest_File_{File: &builderv1.UploadBundleRequest_File{Path: f.path}}})
		for _, part := range []string{f.text[:len(f.text)/2], f.text[len(f.text)/2:]} {
			all = append(all, &builderv1.UploadBundleRequest{Step: &builderv1.UploadBundleRequest_Chunk{Chunk: []byte(part)}})
		}
	}
	return all
}

func commit(files int) *builderv1.UploadBundleRequest {
	return &builderv1.UploadBundleRequest{Step: &builderv1.UploadBundleRequest_Commit_{Commit: &builderv1.UploadBundleRequest_Commit{Files: int32(files)}}}
}

// send uploads step by step. A refusal may come before the last step is sent.
func (w *world) send(ctx context.Context, all ...*builderv1.UploadBundleRequest) (*builderv1.UploadBundleResponse, error) {
	stream, err := w.client.UploadBundle(ctx)
	if err != nil {
		return nil, err
	}
	for _, step := range all {
		if stream.Send(step) != nil {
			break
		}
	}
	return stream.CloseAndRecv()
}

func (w *world) upload(t *testing.T, owner string, files ...file) *builderv1.UploadBundleResponse {
	t.Helper()
	all := append([]*builderv1.UploadBundleRequest{header(owner)}, steps(files...)...)
	res, err := w.send(t.Context(), append(all, commit(len(files)))...)
	if err != nil {
		t.Fatalf("upload: %v", err)
	}
	return res
}

// clean fails the test while something half-done is on the disk.
func (w *world) clean(t *testing.T, bundles int) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		staged, err := w.disk.Names("staging")
		if err != nil {
			t.Fatal(err)
		}
		kept, _ := filepath.Glob(filepath.Join(w.disk.Root(), "bundles", "*", "*"))
		if len(staged) == 0 && len(kept) == bundles {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("staging has %d things, and %d bundles are kept, want %d", len(staged), len(kept), bundles)
		}
		time.Sleep(5 * time.Millisecond) // between two looks
	}
}

func TestAnUploadIsKeptAsItWas(t *testing.T) {
	t.Parallel()
	w := newWorld(t, bundle.DefaultLimits())
	res := w.upload(t, "app_1", file{"main.py", "app"}, file{"bin/run", "#!/bin/sh\n"}, file{"empty", ""})
	home := w.disk.Bundle("org_1", res.GetDigest())
	for name, want := range map[string]string{"main.py": "app", "bin/run": "#!/bin/sh\n", "empty": ""} {
		if got, err := os.ReadFile(filepath.Join(home, name)); err != nil || string(got) != want {
			t.Errorf("%s = %q, %v", name, got, err)
		}
	}
	for name, want := range map[string]os.FileMode{"main.py": 0o644, "bin/run": 0o755} {
		if info, err := os.Stat(filepath.Join(home, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("mode of %s = %v, %v", name, info.Mode(), err)
		}
	}
	if res.GetFiles() != 3 || res.GetBytes() != 13 {
		t.Errorf("answer = %v", res)
	}
	if digest, err := bundle.DigestFS(os.DirFS(home)); err != nil || digest != res.GetDigest() {
		t.Errorf("digest of what is kept = %s, %v; want %s", digest, err, res.GetDigest())
	}
	w.clean(t, 1)
}

func TestTheSameFilesAreTheSameBundle(t *testing.T) {
	t.Parallel()
	w := newWorld(t, bundle.DefaultLimits())
	a, b := file{"a", "1"}, file{"b", "2"}
	first := w.upload(t, "app_1", a, b)
	if again := w.upload(t, "app_1", b, a); again.GetBundleId() != first.GetBundleId() || again.GetDigest() != first.GetDigest() {
		t.Errorf("again = %v, want %v", again, first)
	}
	if other := w.upload(t, "app_2", a, b); other.GetBundleId() == first.GetBundleId() || other.GetDigest() != first.GetDigest() {
		t.Errorf("another owner's = %v, of the first %v", other, first)
	}
	if swapped := w.upload(t, "app_1", file{"a", "2"}, file{"b", "1"}); swapped.GetDigest() == first.GetDigest() {
		t.Error("other contents have the same digest")
	}
	w.clean(t, 2)
}

func TestWhatIsRefusedLeavesNothing(t *testing.T) {
	t.Parallel()
	chunk := &builderv1.UploadBundleRequest{Step: &builderv1.UploadBundleRequest_Chunk{Chunk: []byte("x")}}
	org := &builderv1.UploadBundleRequest{Step: &builderv1.UploadBundleRequest_Header_{
		Header: &builderv1.UploadBundleRequest_Header{OrgId: "../org", Owner: "app_1"},
	}}
	tests := map[string]struct {
		steps []*builderv1.UploadBundleRequest
		want  fault.Kind
	}{
		"no header":                 {[]*builderv1.UploadBundleRequest{chunk}, fault.Invalid},
		"an organisation of dots":   {[]*builderv1.UploadBundleRequest{org}, fault.Invalid},
		"two headers":               {[]*builderv1.UploadBundleRequest{header("a"), header("a")}, fault.Invalid},
		"bytes before a name":       {[]*builderv1.UploadBundleRequest{header("a"), chunk}, fault.Invalid},
		"a path outside":            {append([]*builderv1.UploadBundleRequest{header("a")}, steps(file{"ok", "1"}, file{"../x", "1"})...), fault.Invalid},
		"no commit":                 {append([]*builderv1.UploadBundleRequest{header("a")}, steps(file{"ok", "1"})...), fault.Invalid},
		"no files":                  {[]*builderv1.UploadBundleRequest{header("a"), commit(0)}, fault.Invalid},
		"fewer files than said":     {slices.Concat([]*builderv1.UploadBundleRequest{header("a")}, steps(file{"ok", "1"}), []*builderv1.UploadBundleRequest{commit(2)}), fault.Invalid},
		"too many files":            {append([]*builderv1.UploadBundleRequest{header("a")}, steps(file{"a", ""}, file{"b", ""}, file{"c", ""}, file{"d", ""})...), fault.TooLarge},
		"a file too large":          {append([]*builderv1.UploadBundleRequest{header("a")}, steps(file{"a", "12345678901"})...), fault.TooLarge},
		"too large in all":          {append([]*builderv1.UploadBundleRequest{header("a")}, steps(file{"a", "1234567890"}, file{"b", "1234567890"}, file{"c", "1"})...), fault.TooLarge},
		"a chunk beyond its bounds": {[]*builderv1.UploadBundleRequest{header("a"), steps(file{"a", ""})[0], {Step: &builderv1.UploadBundleRequest_Chunk{Chunk: make([]byte, 1<<20+1)}}}, fault.TooLarge},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, small)
			if _, err := w.send(t.Context(), test.steps...); !test.want.Is(err) {
				t.Errorf("upload = %v", err)
			}
			w.clean(t, 0)
		})
	}
}

func TestAnUploadThatBreaksOffLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, bundle.DefaultLimits())
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := w.client.UploadBundle(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range append([]*builderv1.UploadBundleRequest{header("app_1")}, steps(file{"main.py", "half"})...) {
		if err := stream.Send(step); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if _, err := stream.CloseAndRecv(); err == nil {
		t.Error("half an upload was taken")
	}
	w.clean(t, 0)
}

func BenchmarkUpload(b *testing.B) {
	dir := b.TempDir()
	text := make([]byte, 64<<10)
	b.SetBytes(int64(16 * len(text)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		home := filepath.Join(dir, fmt.Sprint(i))
		if err := os.Mkdir(home, 0o755); err != nil {
			b.Fatal(err)
		}
		s := bundle.NewStaging(home, bundle.DefaultLimits())
		for n := range 16 {
			if err := s.Begin(fmt.Sprintf("pkg/file%d.py", n)); err != nil {
				b.Fatal(err)
			}
			if err := s.Write(text); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := s.Close(16); err != nil {
			b.Fatal(err)
		}
		s.Discard()
	}
}
