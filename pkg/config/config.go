// Package config reads a program's settings: defaults, then a YAML file, then the
// environment, then --set flags. A key that nobody knows is an error.
//
// It holds no secrets: a setting names the file that has one.
package config

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/structs"
	"github.com/knadh/koanf/v2"
)

const (
	delimiter = "."
	tag       = "koanf"
	helpTag   = "help"
)

// A Validator says in a sentence what is wrong with settings.
type Validator interface{ Validate() error }

// Sources say where settings come from.
type Sources struct {
	// File is a YAML file; empty: none.
	File string
	// EnvPrefix begins the names of environment variables, for example
	// "AGENTCLOUD_REGISTRY_"; the rest is the key in capitals with "__" for ".".
	EnvPrefix string
	// Environ is the environment, as os.Environ gives it.
	Environ []string
	// Set holds "key=value" settings, which win.
	Set []string
}

// Load fills into, a pointer to a struct of defaults with koanf tags, from the
// sources and validates it.
func Load(into any, sources Sources) error {
	known := keys(into)
	k := koanf.New(delimiter)
	if err := k.Load(structs.Provider(into, tag), nil); err != nil {
		return fmt.Errorf("defaults: %w", err)
	}
	if sources.File != "" {
		if err := k.Load(file.Provider(sources.File), yaml.Parser()); err != nil {
			return fmt.Errorf("settings file %s: %w", sources.File, err)
		}
	}
	overrides, err := assignments(sources)
	if err != nil {
		return err
	}
	if err := k.Load(confmap.Provider(overrides, delimiter), nil); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if err := decode(k, into, known); err != nil {
		return err
	}
	if v, ok := into.(Validator); ok {
		return v.Validate()
	}
	return nil
}

// assignments reads the environment and the --set flags.
func assignments(sources Sources) (map[string]any, error) {
	values := map[string]any{}
	for _, entry := range sources.Environ {
		name, value, _ := strings.Cut(entry, "=")
		rest, ok := strings.CutPrefix(name, sources.EnvPrefix)
		if !ok || rest == "" || sources.EnvPrefix == "" {
			continue
		}
		values[envKey(rest)] = value
	}
	for _, entry := range sources.Set {
		key, value, ok := strings.Cut(entry, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("--set %s: write key=value", entry)
		}
		values[key] = value
	}
	return values, nil
}

// envKey turns APP_PORTS or HASHICORP__ADDRESS into a key.
func envKey(name string) string {
	return strings.ReplaceAll(strings.ToLower(name), "__", delimiter)
}

// EnvName is the environment variable of a key.
func EnvName(prefix, key string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(key, delimiter, "__"))
}

func decode(k *koanf.Koanf, into any, known []string) error {
	var meta mapstructure.Metadata
	err := k.UnmarshalWithConf("", into, koanf.UnmarshalConf{Tag: tag, DecoderConfig: &mapstructure.DecoderConfig{
		Result: into, TagName: tag, WeaklyTypedInput: true, Metadata: &meta,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(
			mapstructure.StringToTimeDurationHookFunc(), mapstructure.StringToSliceHookFunc(","), pairs, refuseEmpty, refuseUnitless,
		),
	}})
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	var errs []error
	for _, key := range meta.Unused {
		errs = append(errs, unknown(key, known))
	}
	return errors.Join(errs...)
}

// Environ is the process's own environment.
func Environ() []string { return os.Environ() }
