# What the demo shows, once engines and skep run; demo.sh reads it.

tour_real() {
	run docker version --format 'client {{.Client.Version}}, server {{.Server.Version}}'

	say "An image, built on one engine and then given to all: no registry is needed"
	CGO_ENABLED=0 go build -o demo/hello/hello ./demo/hello
	# The command line advises another builder on standard error.
	run docker build -q -t hello:1 demo/hello 2>"$RUN/build" || { cat "$RUN/build" >&2; exit 1; }
	printf '\033[36m$ docker save hello:1 | docker load\033[0m\n'
	docker save hello:1 | docker load

	say "Containers: spread, on a rack, beside another, and one in the foreground"
	docker rm -f web1 web2 web3 front side >/dev/null 2>&1 || true
	for i in 1 2 3; do run docker run -d --name "web$i" hello:1 serve; done
	run docker run -d --name front -e constraint:rack==a -p 8080:80 hello:1 serve
	run docker run -d --name side -e affinity:container==front hello:1 serve
	run docker run --rm hello:1 say
	run docker ps

	say "Commands find the engine by themselves"
	run docker logs web2
	run docker exec web3 /hello say
	run docker inspect --format '{{.Name}} is on {{.Node.Name}}' web1 web2 web3 front side
	started_front

	say "The power of one engine fails"
	run "${LAB[@]}" crash n3
	retry 60 shows Status Unhealthy 1
	status -E '^ n|Status|Error'
	run docker ps

	say "And comes back, with its containers"
	run "${LAB[@]}" start n3
	retry 60 shows Status Healthy 3
	run docker ps -a
}

tour_simulated() {
	local lost
	run docker version --format 'client {{.Client.Version}}, server {{.Server.Version}}'
	run docker info --format '{{.Containers}} containers, {{.Images}} images, {{.NCPU}} processors, {{index .SystemStatus 3}}'

	say "Containers: spread, on a rack, beside another, two with one port, and one in the foreground"
	for i in 1 2 3; do run docker run -d --name "web$i" busybox sleep infinity; done
	run docker run -d --name front -e constraint:rack==a -p 8080:80 busybox sleep infinity
	run docker run -d --name front2 -e constraint:rack==a -p 8080:80 busybox sleep infinity
	run docker run -d --name side -e affinity:container==front busybox sleep infinity
	run docker run --rm busybox true
	run docker ps

	say "No rack d, and skep says so"
	refused docker run -d -e constraint:rack==d busybox sleep infinity

	say "Commands find the engine by themselves"
	run docker logs web2
	run docker inspect --format '{{.Name}} is on {{.Node.Name}}' web1 web2 web3 front front2 side
	started_front

	say "What a simulated engine cannot do, it refuses"
	refused docker exec web3 hostname

	lost=$(docker inspect --format '{{.Node.Name}}' web1)
	say "The power of one engine fails: that of $lost, with web1"
	run bin/engines crash "$RUN" "$lost"
	retry 60 shows Status Unhealthy 1
	status -A 7 "^ $lost "
	run docker ps -a --filter name=web

	say "And comes back, with its containers"
	run bin/engines start "$RUN" "$lost"
	retry 60 shows Status Healthy $SIMULATED
	run docker start web1
	run docker ps --filter name=web
}

started_front() {
	# Until the next second: this one's are not over, and would be left out.
	run docker events --since 1h --until=-1s --filter event=start --filter container=front \
		--format '{{.Actor.Attributes.name}} {{.Action}} on {{index .Actor.Attributes "node.name"}}'
}
