package engine

import (
	"bufio"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// scrubbed is the environment of a build: what it needs, and of the machine's own
// only what the settings let through.
func (e *Engine) scrubbed(work string, programs ...string) []string {
	home := filepath.Join(work, "home")
	env := map[string]string{
		"PATH": searchPath(programs), "HOME": home, "TMPDIR": filepath.Join(work, "tmp"), "LANG": "C.UTF-8",
		"XDG_CACHE_HOME": filepath.Join(home, ".cache"), "XDG_CONFIG_HOME": filepath.Join(home, ".config"),
		"NO_COLOR": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1",
		"UV_CACHE_DIR": e.deps.Disk.Cache("uv"), "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "UV_LINK_MODE": e.cfg.LinkMode,
		"UV_NO_CONFIG": "1", "UV_CONCURRENT_BUILDS": "2",
		// Nobody edits an installed file, so its byte-code need not be compared with it.
		"PYC_INVALIDATION_MODE": "UNCHECKED_HASH",
		"NPM_CONFIG_CACHE":      e.deps.Disk.Cache("npm"), "NPM_CONFIG_UPDATE_NOTIFIER": "false", "NPM_CONFIG_FUND": "false",
		"NPM_CONFIG_AUDIT": "false", "NPM_CONFIG_PROGRESS": "false", "NPM_CONFIG_USERCONFIG": filepath.Join(home, ".npmrc"),
	}
	maps.Copy(env, e.indexes(env))
	list := make([]string, 0, len(env))
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	return list
}

func searchPath(programs []string) string {
	var dirs []string
	for _, p := range programs {
		dirs = append(dirs, filepath.Dir(p))
	}
	return strings.Join(append(dirs, "/usr/local/bin", "/usr/bin", "/bin"), string(os.PathListSeparator))
}

// indexes are the machine's variables and files that say where packages come from.
// It also opens env to the machine's uv.toml, when there is one.
func (e *Engine) indexes(env map[string]string) map[string]string {
	machine := e.passed()
	if e.cfg.MachineConfig {
		machineFiles(e.deps.Environ, machine, env)
	}
	translatePip(machine)
	maps.Copy(machine, e.cfg.Env)
	return machine
}

// passed are the machine's own variables that builds may see.
func (e *Engine) passed() map[string]string {
	out := map[string]string{}
	for _, pair := range e.deps.Environ {
		name, value, _ := strings.Cut(pair, "=")
		for _, pattern := range e.cfg.PassEnv {
			stem, any := strings.CutSuffix(pattern, "*")
			if name == pattern || any && strings.HasPrefix(name, stem) {
				out[name] = value
			}
		}
	}
	return out
}

// translatePip lets pip's variables speak for uv, which reads only its own.
func translatePip(env map[string]string) {
	set := func(name, value string) {
		if _, there := env[name]; !there && value != "" {
			env[name] = value
		}
	}
	if env["UV_INDEX_URL"] == "" {
		set("UV_DEFAULT_INDEX", env["PIP_INDEX_URL"])
	}
	set("UV_EXTRA_INDEX_URL", env["PIP_EXTRA_INDEX_URL"])
	set("UV_NO_INDEX", env["PIP_NO_INDEX"])
	set("SSL_CERT_FILE", env["PIP_CERT"])
	if links := env["PIP_FIND_LINKS"]; links != "" && (strings.Contains(links, "://") || isFolder(links)) {
		set("UV_FIND_LINKS", links)
	}
}

func isFolder(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// machineFiles adds the indexes that the machine's own configuration files name.
func machineFiles(environ []string, machine, env map[string]string) {
	home := lookup(environ, "HOME")
	config := lookup(environ, "XDG_CONFIG_HOME")
	if config == "" {
		config = filepath.Join(home, ".config")
	}
	for _, name := range []string{lookup(environ, "UV_CONFIG_FILE"), filepath.Join(config, "uv", "uv.toml"), "/etc/uv/uv.toml"} {
		if _, err := os.Stat(name); name != "" && err == nil {
			delete(env, "UV_NO_CONFIG")
			env["UV_CONFIG_FILE"] = name
			break
		}
	}
	pip := readINI(filepath.Join(config, "pip", "pip.conf"), filepath.Join(home, ".pip", "pip.conf"), "/etc/pip.conf")
	for key, name := range map[string]string{"index-url": "PIP_INDEX_URL", "extra-index-url": "PIP_EXTRA_INDEX_URL", "cert": "PIP_CERT"} {
		if _, there := machine[name]; !there && pip[key] != "" {
			machine[name] = pip[key]
		}
	}
	npm := readINI(filepath.Join(home, ".npmrc"), "/etc/npmrc")
	if npm["registry"] != "" && machine["NPM_CONFIG_REGISTRY"]+machine["npm_config_registry"] == "" {
		machine["NPM_CONFIG_REGISTRY"] = npm["registry"]
	}
}

func lookup(environ []string, name string) string {
	for _, pair := range environ {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value
		}
	}
	return ""
}

// readINI reads "key = value" lines; the first file that has a key wins.
func readINI(names ...string) map[string]string {
	out := map[string]string{}
	for _, name := range names {
		file, err := os.Open(name) //nolint:gosec // the machine's own configuration
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(file); lines.Scan(); {
			key, value, ok := strings.Cut(lines.Text(), "=")
			key = strings.TrimSpace(key)
			if _, there := out[key]; ok && !there && !strings.HasPrefix(key, "#") && !strings.HasPrefix(key, ";") {
				out[key] = strings.TrimSpace(value)
			}
		}
		_ = file.Close() // only read
	}
	return out
}
