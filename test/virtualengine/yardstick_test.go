//go:build linux

package virtualengine

import (
	"regexp"
	"strings"
	"testing"
)

// yardstick are commands whose status and output must be, word for word, what
// one engine gives. They follow one another. Behind a ~ only the status counts:
// skep says more, or the engine's words are those of its version.
var yardstick = strings.Split(strings.TrimSpace(`
run --name xx --network none tiny:1 tiny echo hello
run --name xx --network none tiny:1 tiny echo hello
run --name yy --network none tiny:1 tiny exit 9
run --rm --network none tiny:1 nothing
run --rm --network none tiny:1 /plain.txt
run --rm --network none -w relative tiny:1 tiny id
run --rm --network none -u nobody tiny:1 tiny id
run --rm --network none --memory 5m tiny:1
run --rm --network none --memory 64m --memory-swap 32m tiny:1
run --rm --network none --pids-limit x tiny:1
run --rm --network none -v relative/path:/x tiny:1
run --rm --network none -v /x:relative tiny:1
run --rm --network none -v /x:/x:nosuch tiny:1
run --rm --network none --mount type=bind,source=/no/such/dir,target=/x tiny:1
run --rm --network none --hostname bad/name tiny:1 tiny echo
run --rm --network none --restart sometimes tiny:1
run --rm --restart always tiny:1
run --rm --network none --runtime nosuch tiny:1
run --rm --network none --cap-add NOSUCH tiny:1
run --rm --network none --security-opt nosuch tiny:1
run --rm --network none --sysctl nosuch=1 tiny:1
run --rm --network none --ulimit nosuch=1 tiny:1
run --rm --network none --device /dev/nosuch tiny:1
run --rm --network none --stop-signal NOSUCH tiny:1
run --rm -p 99999:80 tiny:1
run --rm -p 80:80 --network none tiny:1 tiny echo
run --rm --network nosuch tiny:1
run --rm --network host -p 80:80 tiny:1 tiny echo
~ run --rm --pull never --network none nosuch:1
run --rm --network none --pull never BAD
run --rm --name bad! --network none tiny:1
run --rm --name x --network none tiny:1
run -d --name cc --network none tiny:1 tiny sleep
run -d --name dd --network none --log-driver none tiny:1 tiny echo quiet
wait dd
logs dd
logs xx
logs yy
logs nobody
logs --tail x xx
logs --since x xx
start xx
start cc
start nobody
start -a yy
start -a xx yy
stop xx
stop nobody xx
restart nobody
pause xx
pause cc
pause cc
top cc
unpause cc
unpause cc
unpause nobody
kill -s NOSUCH cc
~ kill -s 99 cc
kill -s 0 cc
~ rename xx yy
rename xx xx
rename xx bad/name
rename nobody xx
~ rename xx /
rename cc c2
rename c2 cc
update nobody
update --memory 1m cc
update --cpus 99 cc
update --cpu-shares 1 cc
update --restart nosuch cc
update --memory 64m --memory-swap 64m cc
exec xx tiny echo
exec nobody tiny echo
exec cc nothing
exec cc tiny exit 3
exec cc tiny echo hello
exec -u nobody cc tiny echo
exec -w relative cc tiny echo
exec -w /no/such cc tiny id
exec -e A=1 cc tiny echo
exec cc
attach xx
attach nobody
wait xx yy
wait nobody
port cc
port cc 80
port nobody
top xx
top nobody
top cc -o nosuch
diff xx
diff nobody
~ cp xx:/nosuch -
cp nobody:/x -
cp xx:/plain.txt /no/such/dir/x
stats --no-stream nobody
export nobody
commit nobody
commit cc BAD
inspect nobody
inspect --type container nobody
inspect --type network nobody
inspect --type volume nobody
~ inspect --type nosuch nobody
inspect --size --type network nobody
inspect -f {{.Nosuch}} cc
ps --filter nosuch=x
~ ps --filter status=nosuch
~ ps --filter exited=x
~ ps --filter before=nobody
~ ps --filter health=nosuch
ps --filter is-task=x
ps -q --filter name=nobody
rm cc
rm nobody
rm nobody xx
rm xx
rm -f nobody
rm -l a/b
rm -fv cc
tag nosuch:1 x:1
tag tiny:1 BAD
tag tiny:1 x:bad/tag
rmi nosuch:1
~ rmi BAD
~ image inspect nosuch:1
history nosuch:1
~ save nosuch:1
images --filter nosuch=x
images --filter dangling=x
image rm
network create bridge
network create none
network create --subnet 10.0.0.0/99 lan
network create --subnet 10.77.0.0/24 --gateway 10.78.0.1 lan
network rm nosuch
network connect bridge nobody
network ls --filter nosuch=x
network ls --filter type=x
volume create bad!name
volume create -o nosuch=1 data
volume inspect nosuch
volume rm nosuch
volume rm -f nosuch
volume ls --filter nosuch=x
volume ls --filter dangling=x
events --since x
events --since 10 --until 5
system df --format {{.Nosuch}}
container prune -f --filter nosuch=x
container prune -f --filter until=x
image prune -f --filter nosuch=x
network prune -f --filter nosuch=x
volume prune -f --filter nosuch=x
service ls
service create tiny:1
service inspect x
node ls
node inspect self
stack ls
stack rm x
secret ls
config ls
swarm leave
swarm update
swarm join-token worker
checkpoint ls bb
~ search x
`), "\n")

var (
	longID     = regexp.MustCompile(`\b[0-9a-f]{64}\b`)
	shortID    = regexp.MustCompile(`\b[0-9a-f]{12}\b`)
	allNodes   = regexp.MustCompile(`n1, n2, n3: `)
	onNode     = regexp.MustCompile(` on node n\d`)
	psNumbers  = regexp.MustCompile(`(?m)^(root\s+)\d+(\s+)\d+(\s+)\d+(\s+)\d\d:\d\d`)
	timeOfNow  = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*`)
	goroutines = regexp.MustCompile(`(?m)^time="[^\n]*\n`) // the CLI's own log, of its races
)

// plain takes out of a command's output what differs between two runs of it,
// and what the cluster adds.
func plain(s string) string {
	s = goroutines.ReplaceAllString(s, "")
	s = longID.ReplaceAllString(s, "<id>")
	s = shortID.ReplaceAllString(s, "<id>")
	s = allNodes.ReplaceAllString(s, "")
	s = strings.ReplaceAll(s, "Invalid filter", "invalid filter") // by version
	s = onNode.ReplaceAllString(s, "")
	s = psNumbers.ReplaceAllString(s, "${1}<pid>")
	return timeOfNow.ReplaceAllString(s, "<time>")
}

// TestYardstick has the same commands run by one engine and by skep.
func TestYardstick(t *testing.T) {
	u := newUser(t)
	one := make([]result, len(yardstick))
	for i, line := range yardstick {
		one[i] = u.on("n1").docker(strings.Fields(strings.TrimPrefix(line, "~ "))...)
	}
	u.sweep()
	for i, line := range yardstick {
		line, statusOnly := strings.CutPrefix(line, "~ ")
		many := u.docker(strings.Fields(line)...)
		u.sub(line, func(u *user) {
			if one[i].code != many.code || !statusOnly && (plain(one[i].stdout) != plain(many.stdout) || plain(one[i].stderr) != plain(many.stderr)) {
				u.t.Errorf("one engine:\n%s\nskep:\n%s", one[i], many)
			}
		})
	}
}
