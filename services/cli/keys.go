package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
)

func newKeys() *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "Make, list and revoke your API keys"}
	a := accessFlags(cmd)
	cmd.AddCommand(newKeysList(a), newKeysCreate(a), newKeysRevoke(a))
	return cmd
}

func newKeysList(a *access) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List your keys, without their values", Args: cobra.NoArgs}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		var res registryv1.ListKeysResponse
		if err := c.call(cmd.Context(), http.MethodGet, "/v1/keys", nil, &res); err != nil {
			return err
		}
		return show(cmd.OutOrStdout(), *format, res.GetKeys(), func(out io.Writer) error {
			rows := [][]string{{"KEY", "NAME", "MADE", "ENDS"}}
			for _, key := range res.GetKeys() {
				rows = append(rows, []string{key.GetKeyId(), key.GetName(), day(key.GetCreatedAt()), day(key.GetExpiresAt())})
			}
			return table(out, rows)
		})
	}
	return cmd
}

func day(t *timestamppb.Timestamp) string {
	if t == nil {
		return "never"
	}
	return t.AsTime().Local().Format(time.DateTime)
}

func newKeysCreate(a *access) *cobra.Command {
	var expires time.Duration
	cmd := &cobra.Command{Use: "create NAME", Short: "Make a key; its value is shown this once", Args: exactly("NAME")}
	cmd.Flags().DurationVar(&expires, "expires", 0, "after how long it ends, for example 720h; 0: never")
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		req := &registryv1.CreateKeyRequest{Name: args[0]}
		if expires > 0 {
			req.ExpiresAt = timestamppb.New(time.Now().Add(expires))
		}
		var res registryv1.CreateKeyResponse
		if err := c.call(cmd.Context(), http.MethodPost, "/v1/keys", req, &res); err != nil {
			return err
		}
		return show(cmd.OutOrStdout(), *format, &res, func(out io.Writer) error {
			_, err := fmt.Fprintln(out, res.GetApiKey())
			return err
		})
	}
	return cmd
}

func newKeysRevoke(a *access) *cobra.Command {
	return &cobra.Command{
		Use: "revoke KEY_ID", Short: "End a key at once", Args: exactly("KEY_ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var res registryv1.RevokeKeyResponse
			return c.call(cmd.Context(), http.MethodDelete, "/v1/keys/"+url.PathEscape(args[0]), nil, &res)
		},
	}
}

// exactly asks for the named arguments.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		return usage("write `%s`", cmd.UseLine())
	}
}
