// Package manifest reads what a project's settings files say, without running
// anything: the settings, the overlay of secret handles, and what each user brings.
//
// It resolves no handle. Settings may hold a secret that a .env leaked into them, so
// nothing here puts a value into an error.
package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
)

const (
	deployedConfig  = "mcp_agent.deployed.config.yaml"
	rawConfig       = "mcp_agent.config.yaml"
	deployedSecrets = "mcp_agent.deployed.secrets.yaml"
)

// Manifest is what the settings files say.
type Manifest struct {
	// Settings are the deployed ones, else the raw ones.
	Settings map[string]any
	// Secrets is the overlay with handles in place of values.
	Secrets map[string]any
	// Handles are all secret handles in the overlay, sorted, each once.
	Handles []string
	// EnvHandles is environment variable → handle.
	EnvHandles map[string]string
	// UserParams are the dotted names of what each user brings.
	UserParams []string
	// Project is what agentcloud.yaml says.
	Project projectfile.Document
	// Warnings are for the author.
	Warnings []string
}

// Read reads the settings files of a project.
func Read(files fs.FS) (Manifest, error) {
	m := Manifest{Settings: map[string]any{}, Secrets: map[string]any{}, EnvHandles: map[string]string{}}
	if err := m.readSettings(files); err != nil {
		return Manifest{}, err
	}
	if err := m.readSecrets(files); err != nil {
		return Manifest{}, err
	}
	slices.Sort(m.UserParams)
	m.UserParams = slices.Compact(m.UserParams)
	return m, m.readProject(files)
}

// readProject reads agentcloud.yaml, which most apps do not have. It fails with
// projectfile.Mistakes.
func (m *Manifest) readProject(files fs.FS) error {
	text, err := readBounded(files, projectfile.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	m.Project, err = projectfile.Parse(text)
	return err
}

func (m *Manifest) readSettings(files fs.FS) error {
	for _, name := range []string{deployedConfig, rawConfig} {
		if _, err := fs.Stat(files, name); err != nil {
			continue
		}
		doc, err := readYAML(files, name)
		if err != nil {
			return err
		}
		m.Settings, m.UserParams = doc.values, doc.userParams
		return nil
	}
	return nil
}

func (m *Manifest) readSecrets(files fs.FS) error {
	if _, err := fs.Stat(files, deployedSecrets); err != nil {
		return nil //nolint:nilerr // most apps have none
	}
	doc, err := readYAML(files, deployedSecrets)
	if err != nil {
		return err
	}
	m.Secrets = doc.values
	m.UserParams = append(m.UserParams, doc.userParams...)
	handles := map[string]bool{}
	if err := checkHandles(doc.values, "", handles); err != nil {
		return err
	}
	m.Handles = slices.Sorted(maps.Keys(handles))
	return m.readEnv(doc.values["env"])
}

// Handle is what stands in place of a secret value. The command line makes no other.
var Handle = regexp.MustCompile(`^mcpac_sc_[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// checkHandles collects the handles below value and refuses raw text, naming the
// place and never the text.
func checkHandles(value any, path string, found map[string]bool) error {
	switch v := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if err := checkHandles(v[key], join(path, key), found); err != nil {
				return err
			}
		}
	case []any:
		for i, item := range v {
			if err := checkHandles(item, fmt.Sprintf("%s[%d]", path, i), found); err != nil {
				return err
			}
		}
	case string:
		if Handle.MatchString(v) {
			found[v] = true
		} else if path != "$schema" && v != "" {
			return problemf("%s has a raw value at %s where a secret handle (mcpac_sc_…) belongs; put the value into mcp_agent.secrets.yaml, delete the deployed file and deploy again", deployedSecrets, path)
		}
	}
	return nil
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// readEnv reads the list of one-key mappings: variable → handle.
func (m *Manifest) readEnv(value any) error {
	if value == nil {
		return nil
	}
	list, ok := value.([]any)
	if !ok {
		return problemf("%s: env must be a list of `- NAME: handle`", deployedSecrets)
	}
	for _, item := range list {
		table, ok := item.(map[string]any)
		if !ok {
			return problemf("%s: each entry of env must be `NAME: handle`", deployedSecrets)
		}
		for name, v := range table {
			handle, isText := v.(string)
			if !envName.MatchString(name) || !isText || !Handle.MatchString(handle) {
				return problemf("%s: the entry %.60q of env must be a variable's name and a secret handle", deployedSecrets, name)
			}
			m.EnvHandles[name] = handle
		}
	}
	return nil
}

// JSON returns settings and overlay as JSON objects.
func (m Manifest) JSON() (settings, secrets string, err error) {
	a, err := json.Marshal(m.Settings)
	if err != nil {
		return "", "", fmt.Errorf("marshal settings: %w", err)
	}
	b, err := json.Marshal(m.Secrets)
	if err != nil {
		return "", "", fmt.Errorf("marshal secrets overlay: %w", err)
	}
	return string(a), string(b), nil
}

// AppName is the name that the settings give the app, if any.
func (m Manifest) AppName() string {
	name, _ := m.Settings["name"].(string)
	return strings.TrimSpace(name)
}

// Command is how the settings start a stdio MCP server.
type Command struct {
	Command string
	Args    []string
}

// Stdio returns the stdio MCP servers of the settings.
func (m Manifest) Stdio() map[string]Command {
	out := map[string]Command{}
	mcp, _ := m.Settings["mcp"].(map[string]any)
	servers, _ := mcp["servers"].(map[string]any)
	for name, value := range servers {
		server, _ := value.(map[string]any)
		command, _ := server["command"].(string)
		if transport, ok := server["transport"].(string); command == "" || ok && transport != "stdio" {
			continue
		}
		c := Command{Command: command}
		list, _ := server["args"].([]any)
		for _, arg := range list {
			c.Args = append(c.Args, fmt.Sprint(arg))
		}
		out[name] = c
	}
	return out
}

// providers are sections of the settings that need a package, which the extra of
// mcp-agent with the same name brings.
var providers = []string{"anthropic", "azure", "bedrock", "cohere", "google", "openai"}

// Providers are the model providers that the settings name with more than nothing.
func (m Manifest) Providers() []string {
	var names []string
	for _, section := range providers {
		if table, ok := m.Settings[section].(map[string]any); ok && len(table) > 0 {
			names = append(names, section)
		} else if table, ok := m.Secrets[section].(map[string]any); ok && len(table) > 0 {
			names = append(names, section)
		}
	}
	return names
}
