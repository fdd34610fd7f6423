// Package bundle takes in source files and keeps them as immutable folders named by
// their content.
//
// It trusts no sender: every path and bound is checked here, whatever was checked
// before. It does not look into the files.
package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/disk"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/store"
)

// maxChunk bounds one message of an upload.
const maxChunk = 1 << 20

// A Store is the memory of which bundles there are.
type Store interface {
	// KeepBundle records b, or finds the one that its owner has with that digest and
	// marks it as used now. It returns the id that counts.
	KeepBundle(ctx context.Context, b store.Bundle) (string, error)
}

// Deps is everything a Service needs from outside.
type Deps struct {
	Store  Store
	Disk   *disk.Disk
	Limits Limits
	// Timeout bounds one upload.
	Timeout time.Duration
	Now     func() time.Time
	NewID   func() string
}

// Service answers UploadBundle.
type Service struct {
	builderv1.UnimplementedBundlesServiceServer
	deps Deps
}

// NewService returns a Service on deps, which must be complete.
func NewService(deps Deps) *Service { return &Service{deps: deps} }

// UploadBundle stores a stream of named files as one immutable bundle.
func (s *Service) UploadBundle(stream grpc.ClientStreamingServer[builderv1.UploadBundleRequest, builderv1.UploadBundleResponse]) error {
	header, err := receiveHeader(stream)
	if err != nil {
		return err
	}
	dir, err := s.deps.Disk.Stage("upload")
	if err != nil {
		return err
	}
	staging := NewStaging(dir, s.deps.Limits)
	defer staging.Discard()
	files, err := s.receiveFiles(stream, staging)
	if err != nil {
		return err
	}
	digest, err := staging.Close(files)
	if err != nil {
		return err
	}
	b := store.Bundle{
		ID: s.deps.NewID(), OrgID: header.GetOrgId(), Owner: header.GetOwner(), Digest: digest,
		Files: files, Bytes: staging.Bytes(), UsedAt: s.deps.Now(),
	}
	if b.ID, err = s.keep(stream.Context(), dir, b); err != nil {
		return err
	}
	return stream.SendAndClose(&builderv1.UploadBundleResponse{
		BundleId: b.ID, Digest: digest, Files: int32(files), Bytes: b.Bytes, //nolint:gosec // bounded by Limits
	})
}

// keep makes the staged folder the bundle's, in one step, and records it. The lock
// keeps the collector from taking a folder between the two.
func (s *Service) keep(ctx context.Context, dir string, b store.Bundle) (string, error) {
	defer s.deps.Disk.Lock()()
	home := s.deps.Disk.Bundle(b.OrgID, b.Digest)
	if err := os.MkdirAll(filepath.Dir(home), 0o755); err != nil { //nolint:gosec // agents read it under another user
		return "", fmt.Errorf("make folder of bundles: %w", err)
	}
	if err := disk.Publish(dir, home); err != nil {
		return "", err
	}
	return s.deps.Store.KeepBundle(ctx, b)
}

var orgPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,79}$`)

type uploadStream = grpc.ClientStreamingServer[builderv1.UploadBundleRequest, builderv1.UploadBundleResponse]

func receiveHeader(stream uploadStream) (*builderv1.UploadBundleRequest_Header, error) {
	first, err := stream.Recv()
	if err != nil {
		return nil, cut(err)
	}
	header := first.GetHeader()
	switch {
	case header == nil:
		return nil, fault.Invalid.Errorf("an upload begins with a header")
	case !orgPattern.MatchString(header.GetOrgId()):
		return nil, fault.Invalid.Errorf("the upload's organisation %.80q is no organisation's id", header.GetOrgId())
	case header.GetOwner() == "" || len(header.GetOwner()) > 200:
		return nil, fault.Invalid.Errorf("an upload needs an owner of at most 200 bytes")
	}
	return header, nil
}

// receiveFiles writes what comes until the commit, and returns how many files it says.
func (s *Service) receiveFiles(stream uploadStream, staging *Staging) (int, error) {
	deadline := time.Now().Add(s.deps.Timeout)
	for {
		req, err := stream.Recv()
		if err != nil {
			return 0, cut(err)
		}
		if time.Now().After(deadline) {
			return 0, fault.Deadline.Errorf("the upload took longer than %s", s.deps.Timeout)
		}
		switch step := req.GetStep().(type) {
		case *builderv1.UploadBundleRequest_File_:
			err = staging.Begin(step.File.GetPath())
		case *builderv1.UploadBundleRequest_Chunk:
			if len(step.Chunk) > maxChunk {
				return 0, fault.TooLarge.Errorf("a chunk has %d bytes; at most %d are taken", len(step.Chunk), maxChunk)
			}
			err = staging.Write(step.Chunk)
		case *builderv1.UploadBundleRequest_Commit_:
			return int(step.Commit.GetFiles()), nil
		default:
			return 0, fault.Invalid.Errorf("a second header, or a step that this builder does not know")
		}
		if err != nil {
			return 0, err
		}
	}
}

// cut says what it means when the stream ends before the commit.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return fault.Invalid.Errorf("the upload ended before its commit; send it again")
	}
	return fault.Canceled.Wrap(err, "the upload was cut off")
}
