//go:build linux

package virtualengine

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const composeFile = `version: "2.4"
services:
  web:
    image: tiny:1
    command: tiny serve
    depends_on: [db]
    environment:
      - "constraint:node!=n3"
    ports: ["8088:80"]
  db:
    image: tiny:1
    command: tiny tick
    volumes: ["data:/data"]
volumes:
  data:
`

// TestCompose runs a project of two services through the manager, with what
// Compose there is on this machine.
func TestCompose(t *testing.T) {
	u := newUser(t)
	kinds := map[string][]string{
		"the plugin docker compose": {u.cli.path, "compose"},
		"docker-compose":            {"docker-compose"},
	}
	for name, command := range kinds {
		t.Run(name, func(t *testing.T) {
			u := *u
			u.t = t
			dir := filepath.Join(t.TempDir(), "project")
			if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "docker-compose.yml"), []byte(composeFile), 0o600)); err != nil {
				t.Fatal(err)
			}
			compose := func(args ...string) (stdout, stderr string, err error) {
				ctx, cancel := context.WithTimeout(t.Context(), commandTimeout)
				defer cancel()
				cmd := u.command(ctx)
				cmd.Path, cmd.Err = command[0], nil
				if !filepath.IsAbs(cmd.Path) {
					if cmd.Path, err = exec.LookPath(command[0]); err != nil {
						return "", "", err
					}
				}
				cmd.Args, cmd.Dir = append(command, args...), dir
				var out, errs bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &errs
				err = cmd.Run()
				return out.String(), errs.String(), err
			}
			if out, errs, err := compose("version"); err != nil || !strings.Contains(strings.ToLower(out), "version") {
				t.Logf("%s is not on this machine: it is not tested (%v %s)", name, err, errs)
				t.SkipNow()
			}
			ok := func(args ...string) string {
				t.Helper()
				out, errs, err := compose(args...)
				if err != nil {
					t.Fatalf("compose %s: %v\n%s%s", strings.Join(args, " "), err, out, errs)
				}
				return out + errs
			}
			ok("up", "-d")
			names := u.names()
			if len(names) != 2 {
				t.Fatalf("docker ps shows %q", names)
			}
			web, db := "", ""
			for _, n := range names {
				if strings.Contains(n, "web") {
					web = n
				} else {
					db = n
				}
			}
			if u.nodeOf(web) != u.nodeOf(db) {
				t.Errorf("the project's network is on one node, its containers are %q", names)
			}
			host := u.inspect("{{.Config.Hostname}}", web)
			u.docker("exec", db, "tiny", "get", "http://web/").ok().prints("hello from " + host + "\n")
			if out := ok("ps"); !strings.Contains(out, "8088") || !strings.Contains(out, "db") {
				t.Errorf("ps prints %s", out)
			}
			if out := ok("logs", "db"); !strings.Contains(out, "tick 1\n") {
				t.Errorf("logs prints %s", out)
			}
			if out := ok("exec", "-T", "db", "tiny", "echo", "inside"); !strings.Contains(out, "inside") {
				t.Errorf("exec prints %s", out)
			}
			ok("up", "-d") // again: nothing to do
			if again := u.names(); strings.Join(again, " ") != strings.Join(names, " ") {
				t.Errorf("the second up has made %q of %q", again, names)
			}
			ok("restart", "web")
			ok("stop")
			ok("start")
			ok("down", "-v")
			if left := u.names("-a"); len(left) > 0 {
				t.Errorf("down leaves %q", left)
			}
			if left := u.docker("network", "ls", "-q", "--filter", "type=custom").ok().lines(); len(left) > 0 {
				t.Errorf("down leaves networks %q", left)
			}
			if left := u.docker("volume", "ls", "-q").ok().lines(); len(left) > 0 {
				t.Errorf("down -v leaves volumes %q", left)
			}
		})
	}
}
