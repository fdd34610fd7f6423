package engine

import (
	"fmt"
	"time"
)

// Version changes when the same lock gives another environment.
const Version = "1"

// Config is how packages are resolved and installed.
type Config struct {
	// UV is the program; empty: the one in PATH, beside our own program, or in .bin.
	UV string `koanf:"uv"`
	// Node and NPM are the programs; empty: the ones in PATH.
	Node string `koanf:"node"`
	NPM  string `koanf:"npm"`
	// Pythons are interpreters to use; empty: all that are found on the machine.
	Pythons []string `koanf:"pythons"`
	// PreferPythons lists minor versions, the best first, for projects that leave it open.
	PreferPythons []string `koanf:"prefer_pythons"`
	// PassEnv are the machine's own variables that builds may see: indexes, proxies,
	// certificates. A name may end in "*". Everything else is kept from builds.
	PassEnv []string `koanf:"pass_env"`
	// Env are further variables for builds, which win: an index that only this cloud
	// has, for example.
	Env map[string]string `koanf:"env"`
	// MachineConfig says whether the machine's uv.toml, pip.conf and .npmrc name the
	// indexes when the variables do not.
	MachineConfig bool `koanf:"machine_config"`
	// Deadline bounds one build.
	Deadline time.Duration `koanf:"deadline"`
	// ResolutionAge is how long an answer to open versions is used again.
	ResolutionAge time.Duration `koanf:"resolution_age"`
	// LinkMode is how files come from the cache: "hardlink", "clone" or "copy".
	LinkMode string `koanf:"link_mode"`
	// NodeScripts lets npm packages run their install scripts.
	NodeScripts bool `koanf:"node_scripts"`
	// ImportCheck imports the main package of a new environment before it counts.
	ImportCheck bool `koanf:"import_check"`
	// Isolation is "auto" (a PID namespace where the machine allows it), "require" or "off".
	Isolation string `koanf:"isolation"`
	// Hide are folders that builds see empty, where the machine allows it: other
	// rooms' data, for example.
	Hide []string `koanf:"hide"`
	// EnvironmentBytes bounds one environment on the disk.
	EnvironmentBytes int64 `koanf:"environment_bytes"`
	// CacheBytes is when the package caches are emptied.
	CacheBytes int64 `koanf:"cache_bytes"`
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
