package builder_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/service"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	"github.com/mcpagentcloud/agentcloud/services/builder"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(*builder.Config)
		want   string // part of the complaint; empty: none
	}{
		"as it comes":           {func(*builder.Config) {}, ""},
		"no build can run":      {func(c *builder.Config) { c.Parallel = 0 }, "parallel"},
		"no upload can end":     {func(c *builder.Config) { c.UploadTimeout = 0 }, "upload_timeout"},
		"garbage under a build": {func(c *builder.Config) { c.Grace = c.Engine.Deadline - 1 }, "grace"},
		"bundles without files": {func(c *builder.Config) { c.Bundle.Files = 0 }, "bundle limits"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := builder.Defaults()
			tt.change(&cfg)
			err := cfg.Validate()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Validate() = %v, want %q", err, tt.want)
			}
		})
	}
}

// wheel makes the smallest package that pip knows, version 1.0, in dir.
func wheel(t *testing.T, dir, name string) {
	t.Helper()
	var buf bytes.Buffer
	archive := zip.NewWriter(&buf)
	info := name + "-1.0.dist-info/"
	for path, text := range map[string]string{
		name + "/__init__.py": "",
		info + "METADATA":     "Metadata-Version: 2.1\nName: " + name + "\nVersion: 1.0\n",
		info + "WHEEL":        "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
		info + "RECORD":       name + "/__init__.py,,\n" + info + "METADATA,,\n" + info + "WHEEL,,\n" + info + "RECORD,,\n",
	} {
		w, err := archive.Create(path)
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+"-1.0-py3-none-any.whl"), buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// start runs the room on a folder until stop, or the end of the test. Packages come
// from a folder alone, so that no network is needed.
func start(t *testing.T, data, wheels string) (conn *grpc.ClientConn, stop func()) {
	t.Helper()
	uv, err := filepath.Abs("../../.bin/uv")
	if err == nil {
		_, err = os.Stat(uv)
	}
	if err != nil {
		t.Skipf("%v: `make setup` installs it", err)
	}
	cfg := builder.Defaults()
	cfg.Engine.UV, cfg.Engine.MachineConfig = uv, false
	cfg.Engine.PassEnv, cfg.Engine.Env = nil, map[string]string{"UV_OFFLINE": "1", "UV_FIND_LINKS": wheels}
	env := service.Env{
		Name: "builder", Log: grpctest.Logger(t), DataDir: data, Now: time.Now,
		OpenDB: func(ctx context.Context, migrations fs.FS) (*sqldb.DB, error) {
			db, err := sqldb.Open(ctx, "sqlite:"+filepath.Join(data, "builder.db"), migrations)
			if err == nil {
				t.Cleanup(func() { _ = db.Close() })
			}
			return db, err
		},
	}
	room, err := builder.New(t.Context(), cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- room.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v", err)
		}
	}
	t.Cleanup(stop)
	return grpctest.Serve(t, room.Register), stop
}

// upload sends a project and returns its bundle.
func upload(t *testing.T, conn *grpc.ClientConn, files map[string]string) string {
	t.Helper()
	stream, err := builderv1.NewBundlesServiceClient(conn).UploadBundle(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := []*builderv1.UploadBundleRequest{{Step: &builderv1.UploadBundleRequest_Header_{Header: &builderv1.UploadBundleRequest_Header{OrgId: "org_1", Owner: "app_1"}}}}
	for path, text := range files {
		all = append(all,
			&builderv1.UploadBundleRequest{Step: &builderv1.UploadBundleRequest_File_{File: &builderv1.UploadBundleRequest_File{Path: path}}},
			&builderv1.UploadBundleRequest{Step: &builderv1.UploadBundleRequest_Chunk{Chunk: []byte(text)}})
	}
	all = append(all, &builderv1.UploadBundleRequest{Step: &builderv1.UploadBundleRequest_Commit_{Commit: &builderv1.UploadBundleRequest_Commit{Files: int32(len(files))}}}) //nolint:gosec // a few
	for _, step := range all {
		if err := stream.Send(step); err != nil {
			t.Fatal(err)
		}
	}
	res, err := stream.CloseAndRecv()
	if err != nil || int(res.GetFiles()) != len(files) {
		t.Fatalf("UploadBundle() = %v, %v", res, err)
	}
	return res.GetBundleId()
}

// build returns the lines and the last message of a build.
func build(t *testing.T, conn *grpc.ClientConn, bundle string) (lines []string, last *builderv1.BuildResponse, err error) {
	t.Helper()
	stream, err := builderv1.NewBuildsServiceClient(conn).Build(t.Context(), &builderv1.BuildRequest{BundleId: bundle, OrgId: "org_1", VersionId: "ver_1"})
	for err == nil {
		var res *builderv1.BuildResponse
		if res, err = stream.Recv(); err == nil {
			last = res
			if res.GetLine() != nil {
				lines = append(lines, res.GetLine().GetMessage())
			}
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return lines, last, err
}

// A project goes all the way to the real installer, and what that says comes all the
// way back; a restart loses nothing.
func TestRoom(t *testing.T) {
	t.Parallel()
	data, wheels := t.TempDir(), t.TempDir()
	wheel(t, wheels, "fastmcp")
	conn, stop := start(t, data, wheels)
	const source = "from fastmcp import FastMCP\nmcp = FastMCP('x')\n"
	good := upload(t, conn, map[string]string{"main.py": source, "requirements.txt": "fastmcp==1.0\n"})
	bad := upload(t, conn, map[string]string{"main.py": source, "requirements.txt": "fastmcp==99\n"})
	var first string
	check := func(conn *grpc.ClientConn) {
		t.Helper()
		lines, last, err := build(t, conn, good)
		made := last.GetArtifact()
		if first == "" {
			first = made.GetArtifactId()
		}
		if err != nil || first == "" || made.GetArtifactId() != first {
			t.Fatalf("Build(good) = %v, %v, want the artifact %q\n%s", last, err, first, strings.Join(lines, "\n"))
		}
		for _, path := range []string{filepath.Join(made.GetAppPath(), "main.py"), filepath.Join(made.GetEnvironmentPath(), "bin", "python")} {
			if _, err := os.Stat(path); err != nil {
				t.Errorf("the artifact lacks %v", err)
			}
		}
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "fastmcp program, Python 3.") }) {
			t.Errorf("the log does not say what was found: %q", lines)
		}
		_, last, err = build(t, conn, bad)
		if err != nil || !strings.Contains(last.GetFailure().GetReason(), "fastmcp") || last.GetFailure().GetDetail() == "" {
			t.Errorf("Build(bad) = %v, %v, want a failure that names fastmcp, with the last lines", last, err)
		}
	}
	check(conn)
	if _, err := os.Stat(filepath.Join(data, "interpreters.json")); err != nil {
		t.Errorf("the next start knows no interpreters: %v", err)
	}
	stop()
	conn, _ = start(t, data, wheels)
	check(conn)
	if _, _, err := build(t, conn, "bdl_none"); !fault.NotFound.Is(err) {
		t.Errorf("Build(another) = %v, want not found", err)
	}
	res, err := builderv1.NewBuildsServiceClient(conn).CollectGarbage(t.Context(), &builderv1.CollectGarbageRequest{NotAfter: timestamppb.Now()})
	if err != nil || res.GetBundles() != 0 || res.GetEnvironments() != 0 {
		t.Errorf("CollectGarbage() = %v, %v, want what is young to stay", res, err)
	}
}
