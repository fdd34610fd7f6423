package stdiomux_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/stdiomux"
)

// FuzzLines lets a client and a process say anything. What comes out on either side is
// JSON in lines, and calls never share an id.
func FuzzLines(f *testing.F) {
	f.Add([]byte(hello(`{}`)+"\n"+`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"progressToken":1}}}`+"\n"),
		[]byte(`{"jsonrpc":"2.0","id":1,"result":{}}`+"\n"+`{"jsonrpc":"2.0","id":"q","method":"roots/list"}`+"\n"))
	f.Add([]byte(`[{"jsonrpc":"2.0","id":"a","method":"initialize"},{"jsonrpc":"2.0","id":"a","method":"x"}]`+"\n"),
		[]byte(`{"jsonrpc":"2.0","id":1,"error":{}}`+"\n"+`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"q"}}`+"\n"))
	f.Add([]byte("\xff\n"+`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":{}}}`), []byte("[]\n{}\nnull\n"))
	f.Fuzz(func(t *testing.T, client, server []byte) {
		m := stdiomux.New(stdiomux.Options{MaxLine: 4 << 10, MaxQueue: 64 << 10})
		ours, theirs := net.Pipe()
		attached := make(chan struct{})
		go func() {
			defer close(attached)
			_ = m.Attach(t.Context(), theirs)
		}()
		toClient := collect(ours)
		inR, inW := io.Pipe()
		toServer := collect(inR)
		outR, outW := io.Pipe()
		served := make(chan struct{})
		go func() {
			defer close(served)
			_ = m.Serve(t.Context(), stdiomux.Process{
				Stdout: outR, Stdin: inW, Kill: func() { _ = outW.Close() }, Why: func() string { return "over" },
			})
		}()
		half := bytes.LastIndexByte(client[:len(client)/2], '\n') + 1
		_, _ = ours.Write(client[:half])
		_, _ = outW.Write(server)
		_, _ = ours.Write(append(client[half:len(client):len(client)], '\n'))
		_, _ = outW.Write(server)
		_ = outW.Close()
		<-served
		_ = ours.Close()
		<-attached
		_ = inR.Close()
		<-toClient
		ids := map[string]bool{}
		for _, line := range <-toServer {
			var msg struct {
				ID     json.RawMessage `json:"id"`
				Method string          `json:"method"`
			}
			if err := json.Unmarshal(line, &msg); err != nil {
				t.Fatalf("the process was told %q: %v", line, err)
			}
			if msg.Method != "" && msg.ID != nil && ids[string(msg.ID)] {
				t.Fatalf("two calls have the id %s", msg.ID)
			}
			if msg.Method != "" {
				ids[string(msg.ID)] = true
			}
		}
	})
}

func collect(r io.Reader) <-chan [][]byte {
	done := make(chan [][]byte, 1)
	go func() {
		var all [][]byte
		scanner := bufio.NewScanner(r)
		scanner.Buffer(nil, 1<<20)
		for scanner.Scan() {
			all = append(all, bytes.Clone(scanner.Bytes()))
		}
		done <- all
	}()
	return done
}
