package service

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/config"
)

// Settings are what every process has besides its room's own.
type Settings struct {
	Listen          string            `koanf:"listen" help:"where the room answers: unix:PATH or HOST:PORT; empty: a socket in mesh_dir"`
	MeshDir         string            `koanf:"mesh_dir" help:"folder of the rooms' sockets"`
	Mesh            map[string]string `koanf:"mesh" help:"room=HOST:PORT,… of the neighbours, in place of mesh_dir"`
	NATS            string            `koanf:"nats" help:"address of the bus, without credentials"`
	NATSTokenFile   string            `koanf:"nats_token_file" help:"file with a token for the bus"`
	NATSCredentials string            `koanf:"nats_credentials_file" help:"file with a NATS user's JWT and seed"`
	NATSReplicas    int               `koanf:"nats_replicas" help:"how many NATS servers keep each stream: 1, 3 or 5"`
	Database        string            `koanf:"database" help:"sqlite:PATH or postgres://… without a password; empty: a SQLite file in data_dir"`
	DatabaseFile    string            `koanf:"database_file" help:"file with the database address, which may hold a password"`
	DataDir         string            `koanf:"data_dir" help:"folder for the room's own files"`
	Health          string            `koanf:"health" help:"HOST:PORT for GET /healthz and /readyz; empty: none"`
	LogLevel        string            `koanf:"log_level" help:"debug, info, warn or error"`
	LogFormat       string            `koanf:"log_format" help:"json or text"`
	Drain           time.Duration     `koanf:"drain" help:"how long calls may take to finish at the end"`
}

// DefaultSettings are those of a process that is told nothing.
func DefaultSettings() Settings {
	return Settings{NATS: "nats://127.0.0.1:4222", NATSReplicas: 1, LogLevel: "info", LogFormat: "json", Drain: defaultDrain}
}

// Validate says what is missing, all at once.
func (s *Settings) Validate() error {
	var errs []error
	refuse := func(bad bool, sentence string) {
		if bad {
			errs = append(errs, errors.New(sentence))
		}
	}
	refuse(s.DataDir == "", "service.data_dir is needed: the folder for this room's files")
	refuse(s.Listen == "" && s.MeshDir == "", "service.listen or service.mesh_dir is needed: where this room answers")
	refuse(s.Drain <= 0, "service.drain must be more than 0, for example 20s")
	refuse(s.NATSReplicas < 1 || s.NATSReplicas > 5, "service.nats_replicas must be 1 to 5")
	refuse(s.Database != "" && s.DatabaseFile != "", "give service.database or service.database_file, not both")
	refuse(hasPassword(s.Database), "service.database must hold no password, for others can read a process's arguments and environment: write the address to a file and name it in service.database_file")
	refuse(hasPassword(s.NATS), "service.nats must hold no credentials: use service.nats_token_file or service.nats_credentials_file")
	refuse(s.NATSTokenFile != "" && s.NATSCredentials != "", "give service.nats_token_file or service.nats_credentials_file, not both")
	return errors.Join(errs...)
}

func hasPassword(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return strings.Contains(address, "@")
	}
	_, inUser := u.User.Password()
	return inUser || u.Query().Has("password")
}

// dsn is the address of the room's database.
func (s *Settings) dsn(name string) (string, error) {
	if s.DatabaseFile != "" {
		text, err := os.ReadFile(s.DatabaseFile)
		if err != nil {
			return "", fmt.Errorf("service.database_file: %w", err)
		}
		return strings.TrimSpace(string(text)), nil
	}
	if s.Database != "" {
		return s.Database, nil
	}
	return "sqlite:" + filepath.Join(s.DataDir, name+".db"), nil
}

// all is the shape of a settings file: the common keys, and the room's under "room".
type all[C any] struct {
	Common Settings `koanf:"service"`
	Room   C        `koanf:"room"`
}

// Validate lets both parts speak.
func (a *all[C]) Validate() error {
	errs := []error{a.Common.Validate()}
	if v, ok := any(a.Room).(config.Validator); ok {
		errs = append(errs, v.Validate())
	} else if v, ok := any(&a.Room).(config.Validator); ok {
		errs = append(errs, v.Validate())
	}
	return errors.Join(errs...)
}

// environ keeps the variables that are settings. Kubernetes puts others with the
// same beginning into every container, such as AGENTCLOUD_REGISTRY_SERVICE_HOST.
func environ(prefix string, all []string) []string {
	var own []string
	for _, entry := range all {
		rest, ok := strings.CutPrefix(entry, prefix)
		if ok && (strings.HasPrefix(rest, "SERVICE__") || strings.HasPrefix(rest, "ROOM__")) {
			own = append(own, entry)
		}
	}
	return own
}
