// Package sources finds the files of a project that are deployed, and sends them. It sends
// what the public command line would: hidden files, packages and secrets stay at home.
//
// It reads no file for what it says, but .mcpacignore.
package sources

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
)

const (
	ignoreFile  = ".mcpacignore"
	secretsFile = "mcp_agent.secrets.yaml"
	// suffix is what the upload's dialect takes off every name again.
	suffix = ".mcpac.py"
	// maxFiles is more than any cloud takes.
	maxFiles  = 50_000
	maxAnswer = 1 << 20
)

// Files are what is sent of a folder.
type Files struct {
	root string
	// Names are paths with slashes, in order.
	Names []string
	Bytes int64
}

// Find lists what is sent of a folder.
func Find(root string) (Files, error) {
	f := Files{root: root}
	ignore := always
	text, err := os.ReadFile(filepath.Join(root, ignoreFile)) //nolint:gosec // the person's own folder
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	ignore = append(ignore[:len(ignore):len(ignore)], readRules(string(text))...)
	err = filepath.WalkDir(root, func(full string, entry fs.DirEntry, err error) error {
		if err != nil || full == root {
			return err
		}
		relative, err := filepath.Rel(root, full)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(relative)
		if ignore.skips(name, entry.IsDir()) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		return f.add(name, full, entry)
	})
	if err == nil && len(f.Names) == 0 {
		err = fmt.Errorf("there is nothing to deploy in %s", root)
	}
	return f, err
}

// add takes a file. A link is taken for the file that it leads to, within the folder.
func (f *Files) add(name, full string, entry fs.DirEntry) error {
	if entry.IsDir() {
		return nil
	}
	if name == secretsFile {
		return fmt.Errorf("%s has values that must not be sent; deploy the project with `mcp-agent deploy`, which keeps them as secrets", secretsFile)
	}
	if entry.Type()&fs.ModeSymlink != 0 {
		target, err := filepath.EvalSymlinks(full)
		if err != nil {
			return fmt.Errorf("follow the link %s: %w", name, err)
		}
		root, err := filepath.EvalSymlinks(f.root)
		if err != nil {
			return err
		}
		if within, err := filepath.Rel(root, target); err != nil || !filepath.IsLocal(within) {
			return fmt.Errorf("the link %s leads out of the project; put the file there itself, or list it in %s", name, ignoreFile)
		}
	}
	info, err := os.Stat(full)
	if err != nil {
		return err
	}
	switch {
	case info.IsDir():
		return fmt.Errorf("%s is a link to a folder; put the files there themselves, or list it in %s", name, ignoreFile)
	case !info.Mode().IsRegular():
		return nil
	case len(f.Names) >= maxFiles:
		return fmt.Errorf("there are more than %d files; list what is not needed in %s", maxFiles, ignoreFile)
	}
	f.Names, f.Bytes = append(f.Names, name), f.Bytes+info.Size()
	return nil
}

// Send uploads the files as a new bundle of an app. Url is that of the API.
func (f Files) Send(ctx context.Context, client *http.Client, url, key, appID string) error {
	read, write := io.Pipe()
	form := multipart.NewWriter(write)
	go func() { _ = write.CloseWithError(errors.Join(f.write(form), form.Close())) }()
	defer read.Close() //nolint:errcheck // ends the writer
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url+"/accounts/agentcloud/workers/scripts/"+appID, read)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("send the files: %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // read only
	var answer struct {
		Success bool `json:"success"`
		Errors  []struct {
			Message string `json:"message"`
		} `json:"errors"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(&answer); err != nil {
		return fmt.Errorf("the cloud answered the upload with %s", res.Status)
	}
	if !answer.Success && len(answer.Errors) > 0 {
		return errors.New(answer.Errors[0].Message)
	}
	return nil
}

// quote escapes a name as browsers do (WHATWG HTML, "multipart form data").
var quote = strings.NewReplacer(`"`, "%22", "\r", "%0D", "\n", "%0A")

func (f Files) write(form *multipart.Writer) error {
	if err := form.WriteField("metadata", "{}"); err != nil {
		return err
	}
	for _, name := range f.Names {
		quoted := quote.Replace(name + suffix)
		part, err := form.CreatePart(textproto.MIMEHeader{
			"Content-Disposition": {fmt.Sprintf(`form-data; name="%s"; filename="%s"`, quoted, quoted)},
			"Content-Type":        {"application/octet-stream"},
		})
		if err != nil {
			return err
		}
		if err := f.copyTo(part, name); err != nil {
			return err
		}
	}
	return nil
}

func (f Files) copyTo(to io.Writer, name string) error {
	file, err := os.Open(filepath.Join(f.root, filepath.FromSlash(name)))
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // read only
	_, err = io.Copy(to, file)
	return err
}
