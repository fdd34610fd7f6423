package builder_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/artifact"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/bundle"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/disk"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/engine"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/store"
	"google.golang.org/grpc"
)

var _ fs.FS

func TestSmoke(t *testing.T) {
	dir := "/tmp/bt/smoke/data"
	db, err := sqldb.Open(t.Context(), "sqlite:/tmp/bt/smoke/b.db", store.Migrations())
	if err != nil {
		t.Fatal(err)
	}
	d, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := store.New(db)
	cfg := engine.Defaults()
	cfg.UV = "/tmp/lab/uvenv/bin/uv"
	cfg.Hide = []string{"/work"}
	e := engine.New(cfg, engine.Deps{Store: m, Disk: d, Now: time.Now, Environ: os.Environ()})
	n := 0
	bs := bundle.NewService(bundle.Deps{Store: m, Disk: d, Limits: bundle.DefaultLimits(), Timeout: time.Minute, Now: time.Now, NewID: func() string { n++; return fmt.Sprintf("bdl_%d_%d", os.Getpid(), n) }})
	as := artifact.NewService(artifact.Deps{Store: m, Disk: d, Engine: e, Publish: func(ctx context.Context, b *busv1.LogBatch) error { return nil }, Log: grpctest.Logger(t), Now: time.Now, NewID: func() string { n++; return fmt.Sprint("b", n) }, Options: artifact.Options{Prefer: cfg.PreferPythons, Deadline: time.Minute * 5, Parallel: 2, Abandon: time.Second, Grace: time.Hour, ResolutionAge: time.Hour}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- as.Run(ctx) }()
	defer func() { cancel(); <-done }()
	conn := grpctest.Serve(t, func(r grpc.ServiceRegistrar) {
		builderv1.RegisterBundlesServiceServer(r, bs)
		builderv1.RegisterBuildsServiceServer(r, as)
	})
	bc := builderv1.NewBundlesServiceClient(conn)
	for _, root := range os.Args[len(os.Args)-1:] {
		up, err := bc.UploadBundle(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		up.Send(&builderv1.UploadBundleRequest{Step: &builderv1.UploadBundleRequest_Header_{Header: &builderv1.UploadBundleRequest_Header{OrgId: "org_1", Owner: "app_1"}}})
		files := 0
		filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			rel, _ := filepath.Rel(root, p)
			text, _ := os.ReadFile(p)
			files++
			up.Send(&builderv1.UploadBundleRequest{Step: &builderv1.UploadBundleRequest_File_{File: &builderv1.UploadBundleRequest_File{Path: rel}}})
			return up.Send(&builderv1.UploadBundleRequest{Step: &builderv1.UploadBundleRequest_Chunk{Chunk: text}})
		})
		up.Send(&builderv1.UploadBundleRequest{Step: &builderv1.UploadBundleRequest_Commit_{Commit: &builderv1.UploadBundleRequest_Commit{Files: int32(files)}}})
		res, err := up.CloseAndRecv()
		if err != nil {
			t.Fatal(err)
		}
		t.Log(res)
		for range 2 {
			st := time.Now()
			b, err := builderv1.NewBuildsServiceClient(conn).Build(t.Context(), &builderv1.BuildRequest{BundleId: res.BundleId, OrgId: "org_1", TargetId: "app_1", VersionId: "ver_1"})
			if err != nil {
				t.Fatal(err)
			}
			for {
				ev, err := b.Recv()
				if err != nil {
					t.Log(err)
					break
				}
				if l := ev.GetLine(); l != nil {
					t.Log(l.Level, l.Message)
				} else {
					t.Log(ev)
				}
			}
			t.Log("took", time.Since(st))
		}
	}
}
