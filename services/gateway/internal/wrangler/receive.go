package wrangler

import (
	"errors"
	"io"
	"mime/multipart"
	"net/http"

	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
)

// Limits bound an upload.
type Limits struct {
	Bytes     int64 `koanf:"bytes" help:"bytes of all files together"`
	Files     int   `koanf:"files" help:"how many files"`
	NameBytes int   `koanf:"name_bytes" help:"bytes of one path"`
	Depth     int   `koanf:"depth" help:"how many folders deep a file may be"`
}

// Defaults hold any agent that is source and not data.
func Defaults() Limits { return Limits{Bytes: 200 << 20, Files: 10_000, NameBytes: 512, Depth: 32} }

const (
	chunkBytes    = 256 << 10
	metadataPart  = "metadata"
	metadataBytes = 1 << 20
	// drainFactor bounds how much of a refused upload is read to its end.
	drainFactor = 3
)

type uploadStream = grpc.ClientStreamingClient[builderv1.UploadBundleRequest, builderv1.UploadBundleResponse]

// receive streams the files of a request to the builder, part by part.
func (h *handler) receive(r *http.Request, from *body, org, app string) (*builderv1.UploadBundleResponse, error) {
	bundle, err := h.forward(r, from, org, app)
	if err != nil && from.broken != nil {
		return nil, fault.Canceled.Wrap(errors.Join(err, from.broken), "the connection ended before the upload did; run the command again")
	}
	return bundle, err
}

func (h *handler) forward(r *http.Request, from io.Reader, org, app string) (*builderv1.UploadBundleResponse, error) {
	parts, err := newForm(r, from)
	if err != nil {
		return nil, err
	}
	stream, err := h.deps.Bundles.UploadBundle(r.Context())
	if err != nil {
		return nil, err
	}
	header := &builderv1.UploadBundleRequest_Header{OrgId: org, Owner: app}
	if err := send(stream, &builderv1.UploadBundleRequest{Step: &builderv1.UploadBundleRequest_Header_{Header: header}}); err != nil {
		return nil, err
	}
	u := &upload{
		stream: stream, limits: h.deps.Limits, names: newNames(h.deps.Limits), settings: settings{},
		vault: &vault{ctx: r.Context(), secrets: h.deps.Secrets, app: app},
	}
	if err := u.copyParts(parts); err != nil {
		_ = stream.CloseSend() // without a commit the builder keeps nothing
		return nil, err
	}
	return stream.CloseAndRecv()
}

// upload is one conversation with the builder.
type upload struct {
	stream uploadStream
	limits Limits
	names  *names
	bytes  int64
	files  int
	// settings are held back until all of them are here.
	settings settings
	vault    *vault
	// described says that the part with the metadata has come.
	described bool
}

func (u *upload) copyParts(parts *form) error {
	buffer := make([]byte, chunkBytes)
	for {
		part, err := parts.next()
		if errors.Is(err, errEnd) {
			if err := u.sendSettings(); err != nil {
				return err
			}
			commit := &builderv1.UploadBundleRequest_Commit{Files: int32(u.files)} //nolint:gosec // bounded by Limits.Files
			return send(u.stream, &builderv1.UploadBundleRequest{Step: &builderv1.UploadBundleRequest_Commit_{Commit: commit}})
		}
		if err != nil {
			return err
		}
		if err := u.copyPart(part, buffer); err != nil {
			return err
		}
	}
}

func (u *upload) copyPart(part *multipart.Part, buffer []byte) error {
	header, err := parseDisposition(part.Header.Get("Content-Disposition"))
	if err != nil {
		return err
	}
	if !header.isFile {
		return u.skipMetadata(header.name, part)
	}
	path, err := u.names.restore(header.filename)
	if err != nil {
		return err
	}
	if u.files++; u.files > u.limits.Files {
		return fault.TooLarge.Errorf("an upload may have at most %d files; list what is not needed in .mcpacignore", u.limits.Files)
	}
	if u.settings.wants(path) {
		return u.hold(path, part)
	}
	if err := u.begin(path); err != nil {
		return err
	}
	return u.copyBytes(part, buffer)
}

func (u *upload) begin(path string) error {
	file := &builderv1.UploadBundleRequest_File{Path: path}
	return send(u.stream, &builderv1.UploadBundleRequest{Step: &builderv1.UploadBundleRequest_File_{File: file}})
}

// skipMetadata passes over the part of bindings, which repeat what deploy_app says.
func (u *upload) skipMetadata(name string, part io.Reader) error {
	if name != metadataPart || u.described {
		return fault.Invalid.Errorf("the upload has a part %.60q that is no file", name)
	}
	u.described = true
	if n, err := io.CopyN(io.Discard, part, metadataBytes+1); err == nil || n > metadataBytes {
		return fault.TooLarge.Errorf("the upload's metadata may have at most %d KiB", metadataBytes>>10)
	}
	return nil
}

func (u *upload) copyBytes(part io.Reader, buffer []byte) error {
	for {
		n, err := io.ReadFull(part, buffer)
		if u.bytes += int64(n); u.bytes > u.limits.Bytes {
			return fault.TooLarge.Errorf("an upload may have at most %d MiB; list what is not needed in .mcpacignore", u.limits.Bytes>>20)
		}
		if n > 0 {
			chunk := &builderv1.UploadBundleRequest_Chunk{Chunk: buffer[:n]}
			if err := send(u.stream, &builderv1.UploadBundleRequest{Step: chunk}); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && n < len(buffer) {
			return partEnd(part, err)
		}
		if err != nil {
			return fault.Invalid.Wrap(err, "the upload ended early or is damaged")
		}
	}
}

// partEnd tells the end of a part from the end of the connection: ReadFull calls
// both unexpected, and only after the former does the part say so again.
func partEnd(part io.Reader, err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	if _, err := part.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return fault.Invalid.Wrap(err, "the upload ended early or is damaged")
	}
	return nil
}

// send gives the builder's own reason when it has ended the stream.
func send(stream uploadStream, req *builderv1.UploadBundleRequest) error {
	err := stream.Send(req)
	if errors.Is(err, io.EOF) {
		_, err = stream.CloseAndRecv()
	}
	return err
}
