// Package localcloud knows where a cloud on this machine is: the note that
// `agentcloud up` leaves in its data folder, and the programs that come with it.
package localcloud

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const noteFile = "cloud.json"

// Cloud is a cloud on this machine.
type Cloud struct {
	// URL of the platform, without a path.
	URL string `json:"url"`
	// KeyFile holds the first administrator's key, mode 0600.
	KeyFile string `json:"key_file"`
	// Temporal is host:port of Temporal's frontend.
	Temporal string `json:"temporal"`
	// TemporalUI is the address of its Web UI; empty when there is none.
	TemporalUI string `json:"temporal_ui,omitempty"`
	// Data and Logs are folders.
	Data string `json:"data"`
	Logs string `json:"logs"`
	// Took is how long the start was.
	Took time.Duration `json:"took_ns"`
}

// DefaultData is the data folder when none is named: the user's own data folder
// (XDG Base Directory Specification).
func DefaultData() string {
	if dir := os.Getenv("AGENTCLOUD_DATA"); dir != "" {
		return dir
	}
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "agentcloud")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ".agentcloud"
	}
	return filepath.Join(home, ".local", "share", "agentcloud")
}

// Read finds the cloud of a data folder.
func Read(data string) (Cloud, error) {
	var c Cloud
	raw, err := os.ReadFile(filepath.Join(data, noteFile))
	if errors.Is(err, fs.ErrNotExist) {
		return c, fmt.Errorf("no cloud has run in %s yet: start one with `agentcloud up --data %s`, or name its folder with --data", data, data)
	}
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return c, fmt.Errorf("%s cannot be read: %w; `agentcloud up` writes it anew", filepath.Join(data, noteFile), err)
	}
	return c, nil
}

// Write leaves the note.
func (c Cloud) Write() error {
	raw, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return WriteFile(filepath.Join(c.Data, noteFile), raw)
}

// Key is the administrator's key.
func (c Cloud) Key() (string, error) {
	raw, err := os.ReadFile(c.KeyFile)
	if err != nil {
		return "", fmt.Errorf("the administrator's key: %w", err)
	}
	var key struct {
		APIKey string `json:"api_key"`
	}
	if err := json.Unmarshal(raw, &key); err != nil {
		return "", fmt.Errorf("%s cannot be read: %w", c.KeyFile, err)
	}
	return key.APIKey, nil
}

// WriteFile puts content in place whole or not at all, for the user alone.
func WriteFile(path string, content []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) //nolint:errcheck // gone after the rename
	_, err = temp.Write(content)
	if err := errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}
