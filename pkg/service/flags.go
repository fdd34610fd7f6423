package service

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"text/tabwriter"

	"github.com/mcpagentcloud/agentcloud/pkg/config"
)

// errAnswered says that the command line asked a question, and that it was answered.
var errAnswered = errors.New("nothing to run")

// parse fills settings from the command line and what it names.
func parse[C any](name string, settings *all[C], args []string, out io.Writer) error {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // errors are told once, by Main
	file := flags.String("config", "", "YAML `FILE` with the settings")
	version := flags.Bool("version", false, "print the version and exit")
	var set []string
	flags.Func("set", "one setting as `KEY=VALUE`; may be repeated", func(s string) error { set = append(set, s); return nil })
	prefix := envPrefix(name)
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		usage(flags, out, name, prefix, settings)
		return errAnswered
	case err != nil:
		return fmt.Errorf("%w; see --help", err)
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q; see --help", flags.Arg(0))
	case *version:
		_, _ = fmt.Fprintln(out, name, Version())
		return errAnswered
	}
	return config.Load(settings, config.Sources{File: *file, EnvPrefix: prefix, Environ: environ(prefix, config.Environ()), Set: set})
}

func envPrefix(name string) string {
	return "AGENTCLOUD_" + strings.ToUpper(strings.NewReplacer("-", "", "_", "").Replace(name)) + "_"
}

func usage(flags *flag.FlagSet, out io.Writer, name, prefix string, settings any) {
	_, _ = fmt.Fprintf(out, "%s is one room of MCP Agent Cloud.\n\nFlags:\n", name)
	flags.SetOutput(out)
	flags.PrintDefaults()
	_, _ = fmt.Fprintf(out, `
Settings, with their defaults. Later ones win: the YAML file, the environment
(for example %s), --set.

`, config.EnvName(prefix, "service.log_level"))
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, s := range config.Describe(settings) {
		_, _ = fmt.Fprintf(table, "  %s\t%s\t%s\n", s.Key, s.Default, s.Help)
	}
	_ = table.Flush()
}

// Version is what the binary was built from.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version + " " + info.GoVersion
}
