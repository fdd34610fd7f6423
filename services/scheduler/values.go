package scheduler

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/s3blob"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/payloads"
)

// values is the store of arguments and results that are too large for histories.
type values struct {
	bucket    *blob.Bucket
	collector *payloads.Collector
}

// openPayloads opens the store of large values and what payloads pass on their way.
func (r *room) openPayloads(ctx context.Context, cfg PayloadsConfig) error {
	bucket, err := openBucket(ctx, cfg.Store, filepath.Join(r.env.DataDir, "payloads"))
	if err != nil {
		return fmt.Errorf("open the store of large values (payloads.store): %w", err)
	}
	claims := payloads.NewClaims(bucket, r.store, cfg.Inline, r.env.Now)
	r.payloads = payloads.NewPassage(claims)
	r.values = values{bucket, &payloads.Collector{Claims: claims, Client: r.namespaces.Client, Log: r.env.Log}}
	return nil
}

// openBucket opens the store at an address; without one, the folder.
func openBucket(ctx context.Context, address, folder string) (*blob.Bucket, error) {
	at := &url.URL{Scheme: "file", Path: folder}
	if address != "" {
		var err error
		if at, err = url.Parse(address); err != nil {
			return nil, err
		}
	}
	switch at.Scheme {
	case "file":
		return fileblob.OpenBucket(at.Path, &fileblob.Options{
			CreateDir: true, DirFileMode: 0o700, NoTempDir: true, Metadata: fileblob.MetadataDontWrite,
		})
	case "s3":
		return new(s3blob.URLOpener).OpenBucketURL(ctx, at)
	}
	return nil, fmt.Errorf("%q is no store that is known; use file:///folder or s3://bucket?region=…", at.Redacted())
}

// run collects what no run needs, until ctx ends.
func (v values) run(ctx context.Context) error {
	defer v.bucket.Close() //nolint:errcheck // nothing is left to be written
	return v.collector.Run(ctx)
}
