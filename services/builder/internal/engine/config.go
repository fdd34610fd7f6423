package engine

import (
	"fmt"
	"time"
)

// Version changes when the same lock gives another environment.
const Version = "1"

// Config is how packages are resolved and installed.
type Config struct {
	UV               string            `koanf:"uv" help:"the program; empty: the one in PATH, beside our own program, or in .bin"`
	Node             string            `koanf:"node" help:"the program; empty: the one in PATH"`
	NPM              string            `koanf:"npm" help:"the program; empty: the one in PATH"`
	Runc             string            `koanf:"runc" help:"the program that runs images; empty: the one in PATH"`
	Pythons          []string          `koanf:"pythons" help:"interpreters to use; empty: all that are found on the machine"`
	PreferPythons    []string          `koanf:"prefer_pythons" help:"minor versions, the best first, for projects that leave it open"`
	PassEnv          []string          `koanf:"pass_env" help:"the machine's own variables that builds may see: indexes, proxies, certificates; a name may end in *"`
	Env              map[string]string `koanf:"env" help:"further variables for builds, which win: an index that only this cloud has, for example"`
	MachineConfig    bool              `koanf:"machine_config" help:"whether the machine's uv.toml, pip.conf and .npmrc name the indexes when the variables do not"`
	Deadline         time.Duration     `koanf:"deadline" help:"how long one build may take"`
	ResolutionAge    time.Duration     `koanf:"resolution_age" help:"how long an answer to open versions is used again"`
	LinkMode         string            `koanf:"link_mode" help:"how files come from the cache: hardlink, clone or copy"`
	NodeScripts      bool              `koanf:"node_scripts" help:"let npm packages run their install scripts"`
	ImportCheck      bool              `koanf:"import_check" help:"import the main package of a new environment before it counts"`
	Isolation        string            `koanf:"isolation" help:"auto (a PID namespace where the machine allows it), require or off"`
	Hide             []string          `koanf:"hide" help:"folders that builds see empty, where the machine allows it: other rooms' data, for example"`
	EnvironmentBytes int64             `koanf:"environment_bytes" help:"bytes of one environment on the disk"`
	CacheBytes       int64             `koanf:"cache_bytes" help:"when the package caches are emptied"`
}

// Defaults are the settings of a laptop.
func Defaults() Config {
	return Config{
		PreferPythons: []string{"3.11", "3.12", "3.13", "3.10"},
		PassEnv: []string{
			"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
			"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO",
			"UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_INDEX_STRATEGY", "UV_FIND_LINKS", "UV_NO_INDEX",
			"UV_INSECURE_HOST", "UV_HTTP_TIMEOUT", "UV_NATIVE_TLS", "UV_SYSTEM_CERTS", "UV_OFFLINE",
			"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_CERT", "PIP_NO_INDEX",
			"NPM_CONFIG_REGISTRY", "npm_config_registry", "NPM_CONFIG_CAFILE", "npm_config_cafile", "NPM_CONFIG_OFFLINE",
		},
		MachineConfig: true, Deadline: 10 * time.Minute, ResolutionAge: 7 * 24 * time.Hour, LinkMode: "hardlink",
		ImportCheck: true, Isolation: "auto", EnvironmentBytes: 8 << 30, CacheBytes: 20 << 30,
	}
}

// Validate says what is wrong with the settings.
func (c Config) Validate() error {
	switch {
	case c.Deadline <= 0:
		return fmt.Errorf("the build deadline is %s; it must be above zero", c.Deadline)
	case c.LinkMode != "hardlink" && c.LinkMode != "clone" && c.LinkMode != "copy":
		return fmt.Errorf("link_mode is %q; use \"hardlink\", \"clone\" or \"copy\"", c.LinkMode)
	case c.Isolation != "auto" && c.Isolation != "require" && c.Isolation != "off":
		return fmt.Errorf("isolation is %q; use \"auto\", \"require\" or \"off\"", c.Isolation)
	}
	return nil
}
