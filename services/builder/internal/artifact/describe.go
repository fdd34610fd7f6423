package artifact

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
)

// DescribeArtifact lists the files of a bundle and the packages of an environment, those
// that are kept.
func (s *Service) DescribeArtifact(ctx context.Context, req *builderv1.DescribeArtifactRequest) (*builderv1.DescribeArtifactResponse, error) {
	answer := &builderv1.DescribeArtifactResponse{}
	bundle, err := s.deps.Store.FindBundle(ctx, req.GetOrgId(), req.GetBundleId())
	switch {
	case fault.NotFound.Is(err):
	case err != nil:
		return nil, err
	default:
		answer.Files, answer.FilesKept, err = sourceFiles(ctx, os.DirFS(s.deps.Disk.Bundle(bundle.OrgID, bundle.Digest)))
		if err != nil {
			return nil, err
		}
	}
	if digest := req.GetEnvironmentDigest(); digest != "" {
		if _, err := hex.DecodeString(digest); err != nil { // it names a folder
			return nil, fault.Invalid.Errorf("%q is no digest of an environment", digest)
		}
		answer.Packages, answer.EnvironmentKept, err = packages(s.deps.Disk.Environment(digest))
		if err == nil && !answer.GetEnvironmentKept() { // that of a Node server is the server's own folder
			answer.Packages, answer.EnvironmentKept, err = nodePackages(s.deps.Disk.Tool(digest))
		}
		slices.SortFunc(answer.GetPackages(), func(a, b *builderv1.Package) int { return cmp.Compare(a.GetName(), b.GetName()) })
	}
	return answer, err
}

// byteCode is the name of folders that builds put beside a project's files.
const byteCode = "__pycache__"

// sourceFiles lists files by path, without what builds have made of them; false when they are gone, also in the middle.
func sourceFiles(ctx context.Context, tree fs.FS) (files []*builderv1.SourceFile, kept bool, err error) {
	err = fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && entry.Name() == byteCode {
			return fs.SkipDir
		}
		if err != nil || entry.IsDir() {
			return errors.Join(err, ctx.Err())
		}
		file, err := sourceFile(tree, name)
		files = append(files, file)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("list files of a bundle: %w", err)
	}
	return files, true, nil
}

func sourceFile(tree fs.FS, name string) (*builderv1.SourceFile, error) {
	file, err := tree.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // only read
	h := sha256.New()
	n, err := io.Copy(h, file)
	return &builderv1.SourceFile{Path: name, Digest: hex.EncodeToString(h.Sum(nil)), Bytes: n}, err
}

// packages are what an environment has, by the folders that installers leave for each
// package.
func packages(environment string) (found []*builderv1.Package, kept bool, err error) {
	if _, err := os.Stat(environment); err != nil {
		return nil, false, nil //nolint:nilerr // it is not there, whatever the reason
	}
	folders, err := filepath.Glob(filepath.Join(environment, "lib", "python*", "site-packages", "*.dist-info"))
	if err != nil {
		return nil, false, fmt.Errorf("list packages of an environment: %w", err)
	}
	for _, folder := range folders {
		name, version, ok := strings.Cut(strings.TrimSuffix(path.Base(filepath.ToSlash(folder)), ".dist-info"), "-")
		if ok {
			// Installers write dashes as underscores there; people write dashes.
			found = append(found, &builderv1.Package{Name: strings.ToLower(strings.ReplaceAll(name, "_", "-")), Version: version})
		}
	}
	return found, true, nil
}
