// Package config reads a program's settings: defaults, then a YAML file, then the
// environment, then --set flags. A key that nobody knows is an error.
package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
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

// Load fills into, which holds the defaults, from the sources and validates it.
func Load(into any, sources Sources) error {
	k := koanf.New(delimiter)
	if err := k.Load(structs.Provider(into, tag), nil); err != nil {
		return fmt.Errorf("defaults: %w", err)
	}
	known := k.Keys()
	if sources.File != "" {
		if err := k.Load(file.Provider(sources.File), yaml.Parser()); err != nil {
			return fmt.Errorf("settings file %s: %w", sources.File, err)
		}
	}
	overrides, err := assignments(sources, known)
	if err != nil {
		return err
	}
	if err := k.Load(confmap.Provider(overrides, delimiter), nil); err != nil {
		return err
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
func assignments(sources Sources, known []string) (map[string]any, error) {
	values := map[string]any{}
	for _, entry := range sources.Environ {
		name, value, _ := strings.Cut(entry, "=")
		rest, ok := strings.CutPrefix(name, sources.EnvPrefix)
		if !ok || sources.EnvPrefix == "" {
			continue
		}
		values[envKey(rest, known)] = value
	}
	for _, entry := range sources.Set {
		key, value, ok := strings.Cut(entry, "=")
		if !ok {
			return nil, fmt.Errorf("--set %s: write key=value", entry)
		}
		values[key] = value
	}
	return values, nil
}

// envKey turns APP_PORTS or HASHICORP__ADDRESS into a key.
func envKey(name string, _ []string) string {
	return strings.ReplaceAll(strings.ToLower(name), "__", delimiter)
}

func decode(k *koanf.Koanf, into any, known []string) error {
	var meta mapstructure.Metadata
	err := k.UnmarshalWithConf("", into, koanf.UnmarshalConf{Tag: tag, DecoderConfig: &mapstructure.DecoderConfig{
		Result: into, TagName: tag, WeaklyTypedInput: true, Metadata: &meta,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(
			mapstructure.StringToTimeDurationHookFunc(), mapstructure.StringToSliceHookFunc(","), pairs,
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

// pairs reads "room=address,room=address" into a map.
func pairs(from, to reflect.Type, value any) (any, error) {
	text, isText := value.(string)
	if !isText || to.Kind() != reflect.Map || from.Kind() != reflect.String {
		return value, nil
	}
	m := map[string]string{}
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		k, v, ok := strings.Cut(part, "=")
		if !ok {
			return nil, fmt.Errorf("%q: write name=value,name=value", text)
		}
		m[k] = v
	}
	return m, nil
}

func unknown(key string, known []string) error {
	near := slices.Clone(known)
	slices.SortStableFunc(near, func(a, b string) int { return distance(key, a) - distance(key, b) })
	if len(near) > 3 {
		near = near[:3]
	}
	return fmt.Errorf("there is no setting %q; near it are %s", key, strings.Join(near, ", "))
}

// distance is a rough measure: letters at the same place count as near.
func distance(a, b string) int {
	same := 0
	for i := 0; i < min(len(a), len(b)); i++ {
		if a[i] == b[i] {
			same++
		}
	}
	return max(len(a), len(b)) - same
}

// Describe lists every key of the settings with its default, for help texts.
func Describe(defaults any) []string {
	k := koanf.New(delimiter)
	if err := k.Load(structs.Provider(defaults, tag), nil); err != nil {
		return nil
	}
	lines := make([]string, 0, len(k.Keys()))
	for _, key := range k.Keys() {
		lines = append(lines, fmt.Sprintf("%s (%v)", key, k.Get(key)))
	}
	return lines
}

// Environ is the process's own environment.
func Environ() []string { return os.Environ() }
