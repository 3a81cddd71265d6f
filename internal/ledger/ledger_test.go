package ledger_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/ledger"
)

func open(t *testing.T, path string) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLedger_whatWasAppliedIsThereAfterARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "containers.db")
	l := open(t, path)
	web := cluster.Record{
		ID: "a", SwarmID: "s", Name: "web", EngineID: "e", EngineAddress: "n1:2375", Running: true, Generation: 2,
		Body: json.RawMessage(`{"Env":["SECRET=<x>"],"Later":1.50}`), Networks: map[string]json.RawMessage{"net": json.RawMessage(`{}`)},
	}
	if err := l.Apply([]cluster.Record{web, {ID: "b"}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := l.Apply([]cluster.Record{{ID: "c"}}, []string{"b", "never there"}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, path)
	defer l.Close()
	got, err := l.Load()
	if err != nil {
		t.Fatal(err)
	}
	if len(got) == 2 { // json.Marshal escapes <, which means the same
		var env struct{ Env []string }
		if err := json.Unmarshal(got[0].Body, &env); err != nil || env.Env[0] != "SECRET=<x>" || !strings.Contains(string(got[0].Body), "1.50") {
			t.Errorf("the body became %s", got[0].Body)
		}
		got[0].Body = web.Body
		got[1].Body = nil
	}
	if diff := cmp.Diff([]cluster.Record{web, {ID: "c"}}, got, cmpopts.IgnoreUnexported(cluster.Record{})); diff != "" {
		t.Error(diff)
	}
}

func TestLedger_onlyItsOwnerMayReadIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "containers.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	l := open(t, path)
	defer l.Close()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("mode is %o", mode)
	}
}

func TestOpen_aBrokenFileIsAnErrorThatSaysWhatToDo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "containers.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("no ledger ", 2000)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := ledger.Open(path)
	if err == nil || !strings.Contains(err.Error(), "move the file away") {
		t.Errorf("%v", err)
	}
}
