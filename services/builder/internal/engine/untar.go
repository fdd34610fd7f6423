package engine

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/mcpagentcloud/agentcloud/services/builder/internal/recipe"
)

// maxEntries bounds the files of an image.
const maxEntries = 500_000

// untar writes an archive below root, and nothing elsewhere whatever it names.
func untar(ctx context.Context, root *os.Root, from io.Reader, most int64) error {
	u := unpacking{root: root, left: most}
	entries := tar.NewReader(from)
	for n := 0; ctx.Err() == nil; n++ {
		header, err := entries.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return unreadable(err)
		case n >= maxEntries:
			return &recipe.Problem{Reason: fmt.Sprintf("the image has more than %d files", maxEntries)}
		}
		if err := u.entry(header, entries); err != nil {
			return err
		}
	}
	return ctx.Err()
}

type unpacking struct {
	root *os.Root
	left int64
}

func (u *unpacking) entry(h *tar.Header, content io.Reader) error {
	name := path.Clean(strings.TrimLeft(h.Name, "/"))
	if name == "." {
		return nil
	}
	if !filepath.IsLocal(name) {
		return unreadable(fmt.Errorf("it has a file %q", h.Name))
	}
	if err := u.write(h, name, content); err != nil {
		var problem *recipe.Problem
		if errors.As(err, &problem) {
			return err
		}
		return unreadable(fmt.Errorf("%s: %w", name, err))
	}
	return nil
}

func (u *unpacking) write(h *tar.Header, name string, content io.Reader) error {
	if parent := path.Dir(name); parent != "." {
		if err := u.root.MkdirAll(parent, 0o755); err != nil {
			return err
		}
	}
	var err error
	switch h.Typeflag {
	case tar.TypeDir:
		err = u.root.MkdirAll(name, 0o755)
	case tar.TypeReg:
		err = u.file(name, content)
	case tar.TypeSymlink:
		err = u.root.Symlink(h.Linkname, name)
	case tar.TypeLink:
		return u.root.Link(path.Clean(strings.TrimLeft(h.Linkname, "/")), name)
	default:
		return nil // devices are made at the start
	}
	if errors.Is(err, fs.ErrExist) {
		return nil // a later layer has it
	}
	return errors.Join(err, u.own(h, name))
}

func (u *unpacking) file(name string, content io.Reader) error {
	file, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(file, io.LimitReader(content, u.left+1))
	if u.left -= n; err == nil && u.left < 0 {
		err = &recipe.Problem{Reason: "the image is larger than this cloud allows (builder.engine.environment_bytes)"}
	}
	return errors.Join(err, file.Close())
}

// own gives a file its owner and permissions, without those that make another user of
// who runs it.
func (u *unpacking) own(h *tar.Header, name string) error {
	if os.Geteuid() == 0 {
		if err := u.root.Lchown(name, h.Uid, h.Gid); err != nil {
			return err
		}
	}
	if h.Typeflag == tar.TypeSymlink {
		return nil
	}
	return u.root.Chmod(name, h.FileInfo().Mode().Perm())
}

// furnish makes what is put over at each start, since the files themselves are not changed.
func furnish(root *os.Root) error {
	for _, folder := range []string{"proc", "dev", "sys", "tmp", "etc"} {
		if _, err := root.Lstat(folder); err == nil {
			continue
		}
		if err := root.Mkdir(folder, 0o755); err != nil {
			return err
		}
	}
	// runc gives what it puts over the folder the folder's own permissions.
	if err := root.Chmod("tmp", 0o777|os.ModeSticky); err != nil {
		return err
	}
	for _, name := range []string{"etc/resolv.conf", "etc/hosts"} {
		if _, err := root.Lstat(name); err == nil {
			continue
		}
		if err := root.WriteFile(name, nil, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// userOf finds the numbers of an image's user: "1000", "node", "node:staff".
func userOf(root *os.Root, user string) (uid, gid uint32, err error) {
	name, group, _ := strings.Cut(user, ":")
	if name == "" {
		name = "0"
	}
	fields := lookUp(root, "etc/passwd", name)
	uid, ok := number(name)
	if !ok && len(fields) > 3 {
		uid, ok = number(fields[2])
	}
	if !ok {
		return 0, 0, &recipe.Problem{Reason: fmt.Sprintf("the image's user %.100q is not in its /etc/passwd", name)}
	}
	if group == "" {
		if len(fields) > 3 {
			gid, _ = number(fields[3])
		}
		return uid, gid, nil
	}
	if gid, ok = number(group); !ok {
		if fields = lookUp(root, "etc/group", group); len(fields) > 2 {
			gid, ok = number(fields[2])
		}
	}
	if !ok {
		return 0, 0, &recipe.Problem{Reason: fmt.Sprintf("the image's group %.100q is not in its /etc/group", group)}
	}
	return uid, gid, nil
}

func number(text string) (uint32, bool) {
	n, err := strconv.ParseUint(text, 10, 31)
	return uint32(n), err == nil
}

// lookUp finds the line of a name, or of a number, in a file such as /etc/passwd.
func lookUp(root *os.Root, file, name string) []string {
	raw, err := root.ReadFile(file)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(raw)) {
		if fields := strings.Split(strings.TrimSpace(line), ":"); len(fields) > 2 && (fields[0] == name || fields[2] == name) {
			return fields
		}
	}
	return nil
}
