//go:build linux

package virtualengine

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skep/skep/internal/lab"
)

// nodesWith are the nodes whose engines have an image.
func (u *user) nodesWith(image string) []string {
	u.t.Helper()
	var nodes []string
	for _, m := range u.stage.lab.Machines() {
		if u.on(m.Name).docker("image", "inspect", image).code == 0 {
			nodes = append(nodes, m.Name)
		}
	}
	return nodes
}

// buildContext is a directory with a Dockerfile and the program tiny.
func (u *user) buildContext(dockerfile string) string {
	u.t.Helper()
	dir := u.t.TempDir()
	program, err := os.ReadFile(u.stage.Tiny)
	err = errors.Join(err,
		os.WriteFile(filepath.Join(dir, "tiny"), program, 0o755),
		os.WriteFile(filepath.Join(dir, "text"), []byte("in the context\n"), 0o644),
		os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o644))
	if err != nil {
		u.t.Fatal(err)
	}
	return dir
}

func TestImage_build(t *testing.T) {
	u := newUser(t)
	dir := u.buildContext(`FROM scratch
ARG WHO=nobody
COPY tiny /bin/tiny
COPY text /text
ENV PATH=/bin WHO=$WHO
LABEL kind=built
RUN ["tiny", "write", "/ran", "by the build"]
CMD ["tiny", "cat", "/text", "/ran"]
`)
	u.sub("from scratch, on one node, to be run at once", func(u *user) {
		u.docker("build", "-t", "built:1", dir).ok().shows("Step 1/8 : FROM scratch", "Successfully built ", "Successfully tagged built:1")
		equal(u.t, "nodes", len(u.nodesWith("built:1")), 1)
		u.docker("run", "--rm", "built:1").ok().prints("in the context\nby the build\n")
	})
	u.sub("-q prints the ID", func(u *user) {
		id := u.out("build", "-q", "-t", "built:1", dir)
		equal(u.t, "ID", u.out("image", "inspect", "-f", "{{.Id}}", "built:1"), id)
	})
	u.sub("uses what an earlier build has left", func(u *user) {
		u.docker("build", dir).ok().shows(" ---> Using cache")
	})
	u.sub("goes where its arguments say, which do not stay in the image", func(u *user) {
		u.docker("build", "-t", "built:2", "--build-arg", "constraint:rack==c", "--build-arg", "WHO=me", "--no-cache", dir).ok()
		sameList(u.t, "nodes", u.nodesWith("built:2"), []string{"n3"})
		equal(u.t, "environment", u.out("image", "inspect", "-f", "{{.Config.Env}}", "built:2"), "[PATH=/bin WHO=me]")
		if history := u.out("history", "--no-trunc", "built:2"); strings.Contains(history, "constraint") {
			u.t.Errorf("the history tells of the constraint:\n%s", history)
		}
		u.docker("build", "--build-arg", "constraint:rack==z", dir).exits(1).complains(unplaceable, "[rack==z]")
		u.docker("build", "--build-arg", "constraint:node==/(/", dir).exits(1).complains("constraint: ")
	})
	u.sub("from an image that is in the cluster only", func(u *user) {
		dir := u.buildContext("FROM built:2\nRUN [\"tiny\", \"touch\", \"/second\"]\n")
		u.docker("build", "-t", "second:1", "--build-arg", "affinity:image==built:2", dir).ok()
		u.docker("run", "--rm", "second:1", "tiny", "list", "/").ok().shows("second\n")
	})
	u.sub("of a Dockerfile on standard input", func(u *user) {
		u.typing("FROM tiny:1\nLABEL piped=yes\n").docker("build", "-t", "piped:1", "-").ok()
		equal(u.t, "label", u.out("image", "inspect", "-f", "{{.Config.Labels.piped}}", "piped:1"), "yes")
	})
	u.sub("that fails says where", func(u *user) {
		u.docker("build", u.buildContext("FROM tiny:1\nRUN [\"tiny\", \"exit\", \"3\"]\n")).exits(3).
			complains("The command 'tiny exit 3' returned a non-zero code: 3")
		u.docker("build", u.buildContext("FROM tiny:1\nCOPY nothing /\n")).exits(1).complains("nothing")
		u.docker("build", u.buildContext("FROM\n")).exits(1).complains("FROM requires either one or three arguments")
		u.docker("build", u.buildContext("NOSUCH x\n")).exits(1).complains("NOSUCH")
	})
	u.sub("without a word about BuildKit uses the classic builder", func(u *user) {
		r := u.setting("DOCKER_BUILDKIT=").docker("build", dir)
		if r.code != 0 && !strings.Contains(r.stderr, "buildx") {
			u.t.Errorf("%s", r)
		}
	})
}

func TestImage_list(t *testing.T) {
	u := newUser(t)
	id := u.out("image", "inspect", "-f", "{{.Id}}", tiny)
	u.docker("tag", tiny, "reg.example:5000/team/app:v1").ok()
	u.docker("build", "-q", "-t", "young:1", "--label", "tier=web", "--build-arg", "constraint:node==n1", u.buildContext("FROM tiny:1\nENV A=1\n")).ok()
	u.docker("build", "-q", "--label", "nameless=yes", "--build-arg", "constraint:node==n2", u.buildContext("FROM tiny:1\nENV B=2\n")).ok()
	list := func(u *user, args ...string) []string {
		u.t.Helper()
		return u.docker(append([]string{"images", "--format", "{{.Repository}}:{{.Tag}}"}, args...)...).ok().lines()
	}
	all := []string{"<none>:<none>", "young:1", "reg.example:5000/team/app:v1", "tiny:1"}
	u.sub("shows each image once, with all its names", func(u *user) {
		sameList(u.t, "docker images", sorted(list(u)...), sorted(all...))
		equal(u.t, "docker images -q", len(u.docker("images", "-q").ok().lines()), 4)
		equal(u.t, "docker images -q --no-trunc tiny", u.out("images", "-q", "--no-trunc", "tiny"), id)
		u.docker("images").ok().shows("REPOSITORY", "TAG", "IMAGE ID", "tiny ", id[len("sha256:"):][:12])
	})
	for _, tc := range []struct {
		args string
		want []string
	}{
		{"tiny", []string{"tiny:1"}},
		{"tiny:1", []string{"tiny:1"}},
		{"tiny:2", nil},
		{"young:*", []string{"young:1"}},
		{"reg.example:5000/team/app", []string{"reg.example:5000/team/app:v1"}},
		{"--filter reference=*/*/app", []string{"reg.example:5000/team/app:v1"}},
		{"--filter reference=t*:1", []string{"tiny:1"}},
		{"--filter label=tier", []string{"young:1"}},
		{"--filter label=tier=web", []string{"young:1"}},
		{"--filter label=tier=db", nil},
		{"--filter dangling=true", []string{"<none>:<none>"}},
		{"--filter dangling=false --filter label=tier", []string{"young:1"}},
		{"--filter before=young:1", []string{"reg.example:5000/team/app:v1", "tiny:1"}},
		{"--filter since=tiny:1 --filter dangling=false", []string{"young:1"}},
		{"--filter node=n1", []string{"reg.example:5000/team/app:v1", "tiny:1", "young:1"}},
		{"--filter node=n3", []string{"reg.example:5000/team/app:v1", "tiny:1"}},
	} {
		u.sub("docker images "+tc.args, func(u *user) {
			sameList(u.t, "images", sorted(list(u, strings.Fields(tc.args)...)...), tc.want)
		})
	}
	u.sub("bad filters are refused", func(u *user) {
		u.docker("images", "--filter", "nosuch=1").exits(1).complains("nosuch")
		u.docker("images", "--filter", "dangling=odd").exits(1).complains("dangling")
		u.docker("images", "--filter", "before=nosuch").exits(1).complains("nosuch")
	})
	u.sub("inspect and history", func(u *user) {
		equal(u.t, "ID", u.out("inspect", "-f", "{{.Id}}", tiny), id)
		equal(u.t, "ID", u.out("image", "inspect", "-f", "{{.Id}}", id[len("sha256:"):][:12]), id)
		equal(u.t, "ID", u.out("image", "inspect", "-f", "{{.Id}}", id), id)
		u.docker("history", "young:1").ok().shows("IMAGE", "ENV A=1")
		u.docker("history", "-q", "--no-trunc", "young:1").ok().shows(id)
		u.docker("image", "inspect", "nosuch").exits(1).prints("[]\n").complains("No such image: nosuch")
		u.docker("history", "nosuch").exits(1).complains("No such image: nosuch")
	})
	u.sub("prune removes those without a name, on all nodes", func(u *user) {
		u.docker("image", "prune", "-f").ok().shows("Deleted Images:", "deleted: sha256:", "Total reclaimed space: ")
		sameList(u.t, "docker images", sorted(list(u)...), sorted(all[1:]...))
		u.docker("image", "prune", "-f").ok().prints("Total reclaimed space: 0B\n")
		u.docker("image", "prune", "-af", "--filter", "label=tier=web").ok().shows("untagged: young:1")
		sameList(u.t, "docker images", sorted(list(u)...), sorted(all[2:]...))
	})
}

func TestImage_tagAndRemove(t *testing.T) {
	u := newUser(t)
	u.sub("tag names it on every node that has it", func(u *user) {
		u.docker("tag", tiny, "named:1").ok().prints("")
		sameList(u.t, "nodes", u.nodesWith("named:1"), []string{"n1", "n2", "n3"})
		u.docker("tag", "nosuch:1", "x").exits(1).complains("No such image: nosuch:1")
		u.docker("tag", tiny, "BAD").exits(1)
	})
	u.sub("rmi takes the name away everywhere, the image with the last name", func(u *user) {
		u.docker("rmi", "named:1").ok().prints("Untagged: named:1\n")
		sameList(u.t, "nodes", u.nodesWith("named:1"), nil)
		u.docker("rmi", "named:1").exits(1).complains("No such image: named:1")
		u.docker("build", "-q", "-t", "one:1", u.buildContext("FROM tiny:1\nENV ONE=1\n")).ok()
		id := u.out("image", "inspect", "-f", "{{.Id}}", "one:1")
		u.docker("rmi", "one:1").ok().prints("Untagged: one:1\nDeleted: " + id + "\n")
	})
	u.sub("rmi of an image in use is refused, and does not touch it anywhere", func(u *user) {
		u.docker("tag", tiny, "used:1").ok()
		u.docker("build", "-q", "-t", "mine:1", u.buildContext("FROM tiny:1\nENV MINE=1\n")).ok()
		u.run("--name", "user", "mine:1", "tiny", "sleep")
		u.docker("rmi", "mine:1").exits(1).complains("conflict: unable to remove repository reference", "is using its referenced image")
		u.docker("image", "inspect", "mine:1").ok()
		id := u.out("image", "inspect", "-f", "{{.Id}}", tiny)
		u.docker("rmi", id).exits(1).complains("must be forced")
		sameList(u.t, "nodes", u.nodesWith("used:1"), []string{"n1", "n2", "n3"})
	})
}

func TestImage_saveLoadImport(t *testing.T) {
	u := newUser(t)
	dir := u.t.TempDir()
	u.docker("build", "-q", "-t", "here:1", "--build-arg", "constraint:node==n2", u.buildContext("FROM tiny:1\nRUN [\"tiny\",\"write\",\"/here\",\"only\"]\n")).ok()
	id := u.out("image", "inspect", "-f", "{{.Id}}", "here:1")
	u.sub("save | load brings an image to all nodes", func(u *user) {
		sameList(u.t, "nodes", u.nodesWith("here:1"), []string{"n2"})
		path := filepath.Join(dir, "here.tar")
		u.docker("save", "-o", path, "here:1").ok()
		u.docker("load", "-i", path).ok().shows("Loaded image: here:1")
		sameList(u.t, "nodes", u.nodesWith("here:1"), []string{"n1", "n2", "n3"})
		for _, node := range []string{"n1", "n2", "n3"} {
			u.docker("run", "--rm", "-e", "constraint:node=="+node, "here:1", "tiny", "cat", "/here").ok().prints("only\n")
		}
		u.docker("rmi", "here:1").ok()
		saved, err := os.ReadFile(path)
		if err != nil {
			u.t.Fatal(err)
		}
		u.typing(string(saved)).docker("load", "-q").ok().shows("Loaded image: here:1")
		equal(u.t, "ID", u.out("image", "inspect", "-f", "{{.Id}}", "here:1"), id)
	})
	u.sub("save of several images is one archive", func(u *user) {
		path := filepath.Join(dir, "both.tar")
		u.docker("save", "-o", path, "here:1", tiny).ok()
		manifest := readTarFile(u.t, path, "manifest.json")
		if !strings.Contains(manifest, `"here:1"`) || !strings.Contains(manifest, `"tiny:1"`) {
			u.t.Errorf("the manifest is %s", manifest)
		}
		u.docker("save", "-o", path, "here:1", "nosuch:1").exits(1).complains("nosuch:1")
	})
	u.sub("load of something else fails with a sentence", func(u *user) {
		r := u.typing("this is no tar").docker("load")
		if r.code == 0 || len(r.stderr) < 10 {
			u.t.Errorf("%s", r)
		}
		u.docker("ps").ok()
	})
	u.sub("import makes one image on all nodes", func(u *user) {
		u.docker("create", "--name", "source", "here:1").ok()
		path := filepath.Join(dir, "fs.tar")
		u.docker("export", "-o", path, "source").ok()
		r := u.docker("import", "-m", "imported", "-c", "ENV PATH=/bin", path, "flat:1").ok()
		id := regexp.MustCompile(`sha256:[0-9a-f]{64}`).FindString(r.stdout)
		sameList(u.t, "nodes", u.nodesWith("flat:1"), []string{"n1", "n2", "n3"})
		for _, node := range []string{"n1", "n2", "n3"} {
			equal(u.t, "ID on "+node, u.on(node).out("image", "inspect", "-f", "{{.Id}}", "flat:1"), id)
		}
		u.docker("run", "--rm", "flat:1", "tiny", "cat", "/here").ok().prints("only\n")
		fs, err := os.ReadFile(path)
		if err != nil {
			u.t.Fatal(err)
		}
		u.typing(string(fs)).docker("import", "-", "piped:1").ok()
		u.docker("image", "inspect", "piped:1").ok()
	})
	u.sub("a container goes where its image is, if no registry has it", func(u *user) {
		u.docker("build", "-q", "-t", "rare:1", "--build-arg", "constraint:node==n3", u.buildContext("FROM tiny:1\nENV RARE=1\n")).ok()
		for range 3 {
			equal(u.t, "node", u.nodeOf(u.run("rare:1")), "n3")
		}
		u.docker("run", "-d", "-e", "constraint:node==n1", "rare:1").exits(125).complains(unplaceable)
	})
}

func readTarFile(t *testing.T, path, name string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		header, err := r.Next()
		if err != nil {
			t.Fatalf("%s in %s: %v", name, path, err)
		}
		if header.Name == name {
			data, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return string(data)
		}
	}
}

// There is no way out of the lab: what needs the world fails, and must say so.
func TestImage_withoutARegistry(t *testing.T) {
	u := newUser(t)
	u.sub("pull fails with the engines' reason", func(u *user) {
		r := u.docker("pull", "10.99.0.1:5001/nothing:1").exits(1)
		if !strings.Contains(r.stderr, "10.99.0.1:5001") {
			u.t.Errorf("%s", r)
		}
	})
	u.sub("run of an image that nobody has fails as with one engine", func(u *user) {
		u.docker("run", "10.99.0.1:5001/nothing:1").exits(125).complains("Unable to find image '10.99.0.1:5001/nothing:1' locally", "10.99.0.1:5001")
		u.docker("run", "--pull", "never", "nothing:1").exits(125).complains("No such image: nothing:1")
		u.docker("create", "--pull", "never", "nothing:1").exits(1).complains("No such image: nothing:1")
	})
	u.sub("push fails with the engine's reason", func(u *user) {
		u.docker("tag", tiny, "10.99.0.1:5001/mine:1").ok()
		u.docker("push", "10.99.0.1:5001/mine:1").exits(1).complains("10.99.0.1:5001")
		u.docker("push", "nosuch:1").exits(1).complains("nosuch")
	})
	u.sub("login and search fail with the engine's reason", func(u *user) {
		u.docker("login", "-u", "me", "-p", "secret", "10.99.0.1:5001").exits(1).complains("10.99.0.1:5001")
		u.docker("search", "10.99.0.1:5001/x").exits(1)
	})
}

func TestImage_registry(t *testing.T) {
	u := newUser(t)
	cmd := u.stage.lab.Command(t.Context(), lab.Hub, u.stage.Registry, registryHost)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	image := registryHost + "/team/app:1"
	u.docker("build", "-q", "-t", image, "--build-arg", "constraint:node==n2", u.buildContext("FROM tiny:1\nRUN [\"tiny\",\"write\",\"/app\",\"version 1\"]\n")).ok()
	id := u.out("image", "inspect", "-f", "{{.Id}}", image)
	var digest string
	u.sub("push sends it from the node that has it", func(u *user) {
		var r result
		u.eventually(10*time.Second, func() error { // until the registry listens
			if r = u.docker("push", image); r.code != 0 {
				return errors.New(r.String())
			}
			return nil
		})
		digest = regexp.MustCompile(`1: digest: (sha256:[0-9a-f]{64})`).FindStringSubmatch(r.shows("The push refers to repository [" + registryHost + "/team/app]").stdout)[1]
		equal(u.t, "digest", u.out("image", "inspect", "-f", "{{index .RepoDigests 0}}", image), registryHost+"/team/app@"+digest)
	})
	u.sub("pull brings it to all nodes, with a line for each", func(u *user) {
		u.docker("rmi", image).ok()
		r := u.docker("pull", image).ok().shows("n1: ", "n2: ", "n3: ")
		for _, node := range []string{"n1", "n2", "n3"} {
			equal(u.t, "ID on "+node, u.on(node).out("image", "inspect", "-f", "{{.Id}}", image), id)
		}
		if !strings.HasSuffix(strings.TrimSpace(r.stdout), image) {
			u.t.Errorf("the last line is not the image's name\n%s", r)
		}
		u.docker("pull", "-q", image).ok().prints(image + "\n")
		u.docker("pull", "-q", registryHost+"/team/app@"+digest).ok()
		u.docker("pull", registryHost+"/team/app:2").exits(1).complains("manifest unknown")
	})
	u.sub("run pulls it on the node that is chosen, and only there", func(u *user) {
		u.docker("rmi", image).ok()
		u.docker("run", "--rm", "-e", "constraint:node==n3", image, "tiny", "cat", "/app").ok().prints("version 1\n")
		sameList(u.t, "nodes", u.nodesWith(image), []string{"n3"})
		u.docker("run", "--rm", "-e", "constraint:node==n1", image, "tiny", "cat", "/app").ok().prints("version 1\n")
		sameList(u.t, "nodes", u.nodesWith(image), []string{"n1", "n3"})
		u.docker("run", "--rm", "--pull", "always", "-e", "constraint:node==n2", image, "tiny", "cat", "/app").ok().shows("version 1\n")
	})
	u.sub("run by digest", func(u *user) {
		u.docker("run", "--rm", registryHost+"/team/app@"+digest, "tiny", "cat", "/app").ok().prints("version 1\n")
	})
	u.sub("many at once that need it pull it once where they run", func(u *user) {
		u.docker("rmi", image, registryHost+"/team/app@"+digest)
		var all []*background
		for i := range 6 {
			all = append(all, u.start("run", "--rm", "--network", "none", "-e", fmt.Sprint("constraint:node==n", i%3+1), image, "tiny", "cat", "/app"))
		}
		for _, b := range all {
			b.wait(commandTimeout).ok().shows("version 1\n")
		}
	})
	u.sub("build pulls what it is from", func(u *user) {
		u.docker("rmi", "-f", image)
		u.docker("build", "-t", "from-registry:1", u.buildContext("FROM "+image+"\nENV A=1\n")).ok()
		u.docker("run", "--rm", "from-registry:1", "tiny", "cat", "/app").ok().prints("version 1\n")
	})
	u.sub("manifest inspect asks the registry through an engine", func(u *user) {
		u.docker("buildx", "version") // whether there is one does not matter
		status, body := u.call("GET", "/distribution/"+image+"/json")
		if status != 200 || !strings.Contains(body, digest) {
			u.t.Errorf("status %d: %s", status, body)
		}
	})
	u.sub("pull while an engine is down brings it to the others", func(u *user) {
		u.docker("rmi", "-f", image)
		u.do((*lab.Lab).Stop, "n2")
		u.eventually(noticed, func() error {
			if s := u.engine("n2").rows["Status"]; s == "Healthy" {
				return errors.New("n2 is healthy")
			}
			return nil
		})
		u.docker("pull", image).ok()
		u.do((*lab.Lab).Start, "n2")
		if nodes := u.nodesWith(image); !slices.Contains(nodes, "n1") || !slices.Contains(nodes, "n3") {
			u.t.Errorf("it is on %q", nodes)
		}
	})
}

// A node that hangs takes connections and says nothing. That it does is found
// out while the others are at work.
func TestImage_whileANodeHangs(t *testing.T) {
	u := newUser(t)
	path := filepath.Join(u.t.TempDir(), "tiny.tar")
	u.docker("tag", tiny, "spread:1").ok()
	u.docker("save", "-o", path, "spread:1").ok()
	u.docker("rmi", "spread:1").ok()
	hung := func(u *user, args ...string) {
		u.t.Helper()
		u.do((*lab.Lab).Pause, "n2")
		mend := func() { u.do((*lab.Lab).Unpause, "n2") }
		r := func() result {
			defer mend()
			return u.docker(args...)
		}()
		r.exits(1).complains("n2").within(2 * noticed)
		u.eventually(noticed, func() error {
			if s := u.engine("n2").rows["Status"]; s != "Healthy" {
				return fmt.Errorf("n2 is %s", s)
			}
			return nil
		})
	}
	u.sub("load brings the image to the others, and says which one failed", func(u *user) {
		hung(u, "load", "-i", path)
		if nodes := u.nodesWith("spread:1"); !slices.Contains(nodes, "n1") || !slices.Contains(nodes, "n3") {
			u.t.Errorf("it is on %q", nodes)
		}
	})
	u.sub("tag and rmi act on the others, and say which one failed", func(u *user) {
		u.docker("load", "-i", path).ok()
		hung(u, "tag", "spread:1", "spread:2")
		if nodes := u.nodesWith("spread:2"); !slices.Contains(nodes, "n1") || !slices.Contains(nodes, "n3") {
			u.t.Errorf("spread:2 is on %q", nodes)
		}
		hung(u, "rmi", "spread:1")
		if nodes := u.nodesWith("spread:1"); slices.Contains(nodes, "n1") || slices.Contains(nodes, "n3") {
			u.t.Errorf("spread:1 is left on %q", nodes)
		}
	})
}
