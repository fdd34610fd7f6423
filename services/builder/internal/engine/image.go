package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/recipe"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/store"
)

// Image says where an image is: in a registry, or in a folder that is an OCI layout.
type Image struct{ Ref, Layout string }

// ImageSays is what an image says of its program, and how it is run.
type ImageSays struct {
	Args   []string          `json:"args"`
	Env    map[string]string `json:"env"`
	Folder string            `json:"folder"`
	UID    uint32            `json:"uid"`
	GID    uint32            `json:"gid"`

	Rootfs, Runc string `json:"-"`
}

// Fill completes a program that runs in the image. What the project says comes first.
func (s ImageSays) Fill(p *builderv1.Program) {
	if len(p.GetArgs()) == 0 {
		p.Args = s.Args
	}
	env := maps.Clone(s.Env)
	maps.Copy(env, p.GetEnv())
	p.Env = env
	p.Image = &builderv1.Image{Runc: s.Runc, Rootfs: s.Rootfs, Folder: s.Folder, Uid: s.UID, Gid: s.GID}
}

const (
	rootfsFolder = "rootfs"
	imageFile    = "image.json"
	dialLimit    = 10 * time.Second
	imagePath    = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// runc finds the program, without which no image is taken.
func (e *Engine) runc() (string, error) {
	found, err := findProgram(e.cfg.Runc, "runc", "")
	if err != nil {
		return "", &recipe.Problem{Reason: "the project is an image, and this machine has no runc to run it; whoever runs this cloud can install it (Debian: apt-get install runc) or name it with builder.engine.runc"}
	}
	if os.Geteuid() != 0 {
		return "", &recipe.Problem{Reason: "the project is an image, and images are run only where the cloud runs as root"}
	}
	return found, nil
}

// Image lays the files of an image out and returns the digest of the folder, which is
// there when it returns.
func (e *Engine) Image(ctx context.Context, from Image, sink Sink) (string, error) {
	if _, err := e.runc(); err != nil {
		return "", err
	}
	image, err := find(ctx, from, sink)
	if err != nil {
		return "", err
	}
	content, err := image.Digest()
	if err != nil {
		return "", unreadable(err)
	}
	digest := digestOf("image", Version, Platform(), content.String())
	unlock, err := e.making.lock(ctx, "tool "+digest)
	if err != nil {
		return "", err
	}
	defer unlock()
	if there, err := e.Claim(ctx, digest, store.KindTool); there || err != nil {
		return digest, err
	}
	sink("laying out the image " + content.String())
	if err := e.layOut(ctx, image, e.deps.Disk.Tool(digest)); err != nil {
		return "", err
	}
	_, err = e.Claim(ctx, digest, store.KindTool)
	return digest, err
}

func unreadable(err error) error {
	return &recipe.Problem{Reason: "the image cannot be read; see the reason", Detail: err.Error()}
}

// find looks an image up. Of several platforms it takes this machine's.
func find(ctx context.Context, from Image, sink Sink) (v1.Image, error) {
	if from.Layout != "" {
		index, err := layout.ImageIndexFromPath(from.Layout)
		if err != nil {
			return nil, unreadable(err)
		}
		return choose(index)
	}
	ref, err := name.ParseReference(from.Ref)
	if err != nil {
		return nil, &recipe.Problem{Reason: fmt.Sprintf("image.ref in agentcloud.yaml is %.200q, which names no image", from.Ref)}
	}
	sink("asking " + ref.Context().RegistryStr() + " for the image")
	image, err := remote.Image(ref, remote.WithContext(ctx), remote.WithAuth(authn.Anonymous), remote.WithPlatform(platform()), remote.WithTransport(registryTransport()))
	if err != nil && ctx.Err() == nil {
		return nil, &recipe.Problem{Reason: fmt.Sprintf("the image %s cannot be had; it must be public, and there for %s", from.Ref, Platform()), Detail: err.Error()}
	}
	return image, err
}

// registryTransport takes no connection to addresses by which programs of a machine are
// told about it: a project may name any host.
func registryTransport() http.RoundTripper {
	dialer := net.Dialer{Timeout: dialLimit, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err == nil && (at.Addr().Unmap().IsLinkLocalUnicast() || at.Addr().IsMulticast()) {
			return errors.New("the registry's address is not allowed")
		}
		return err
	}}
	return &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, TLSHandshakeTimeout: dialLimit, ForceAttemptHTTP2: true}
}

func platform() v1.Platform { return v1.Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH} }

// choose takes the image for this machine; an index may hold another.
func choose(index v1.ImageIndex) (v1.Image, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, unreadable(err)
	}
	for _, one := range manifest.Manifests {
		if one.Platform != nil && !one.Platform.Satisfies(platform()) {
			continue
		}
		if !one.MediaType.IsIndex() {
			image, err := index.Image(one.Digest)
			if err != nil {
				return nil, unreadable(err)
			}
			return image, nil
		}
		inner, err := index.ImageIndex(one.Digest)
		if err != nil {
			return nil, unreadable(err)
		}
		if image, err := choose(inner); err == nil {
			return image, nil
		}
	}
	return nil, &recipe.Problem{Reason: "the image is not there for " + Platform() + "; build it for that platform, too"}
}

func (e *Engine) layOut(ctx context.Context, image v1.Image, home string) error {
	work, err := e.deps.Disk.Stage("image")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) //nolint:errcheck // what is left is swept at the next start
	made := filepath.Join(work, "image")
	if err := os.MkdirAll(filepath.Join(made, rootfsFolder), 0o755); err != nil { //nolint:gosec // the image's own users read it
		return fmt.Errorf("make folder of image: %w", err)
	}
	root, err := os.OpenRoot(filepath.Join(made, rootfsFolder))
	if err != nil {
		return fmt.Errorf("open folder of image: %w", err)
	}
	defer root.Close() //nolint:errcheck // nothing is kept in it
	layers := mutate.Extract(image)
	defer layers.Close() //nolint:errcheck // read only
	if err := untar(ctx, root, layers, e.cfg.EnvironmentBytes); err != nil {
		return err
	}
	if err := furnish(root); err != nil {
		return fmt.Errorf("prepare image: %w", err)
	}
	says, err := readImage(image, root)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(says)
	if err != nil {
		return fmt.Errorf("marshal what the image says: %w", err)
	}
	if err := os.WriteFile(filepath.Join(made, imageFile), raw, 0o644); err != nil { //nolint:gosec // no secret
		return fmt.Errorf("keep what the image says: %w", err)
	}
	return e.publish(work, made, home)
}

// readImage reads the configuration of an image.
func readImage(image v1.Image, root *os.Root) (ImageSays, error) {
	file, err := image.ConfigFile()
	if err != nil {
		return ImageSays{}, unreadable(err)
	}
	c := file.Config
	says := ImageSays{Args: slices.Concat(c.Entrypoint, c.Cmd), Folder: c.WorkingDir, Env: map[string]string{"PATH": imagePath}}
	if says.Folder == "" {
		says.Folder = "/"
	}
	for _, pair := range c.Env {
		if key, value, ok := strings.Cut(pair, "="); ok {
			says.Env[key] = value
		}
	}
	says.UID, says.GID, err = userOf(root, c.User)
	return says, err
}

// ImageSays is what an image that was laid out says of its program.
func (e *Engine) ImageSays(digest string) (ImageSays, error) {
	var says ImageSays
	home := e.deps.Disk.Tool(digest)
	raw, err := os.ReadFile(filepath.Join(home, imageFile)) //nolint:gosec // our own folder
	if err == nil {
		err = json.Unmarshal(raw, &says)
	}
	if err != nil {
		return says, fmt.Errorf("read what the image says: %w", err)
	}
	says.Rootfs = filepath.Join(home, rootfsFolder)
	says.Runc, err = e.runc()
	return says, err
}
