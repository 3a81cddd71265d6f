// Command hello is the program in the demo's image: it serves a greeting, or
// says one and ends.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	host, _ := os.Hostname()
	if len(os.Args) > 1 && os.Args[1] == "say" {
		fmt.Println("hello from container", host)
		return
	}
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello from container", host) })
	go func() { log.Fatal(http.ListenAndServe(":80", nil)) }()
	log.Println("serving on port 80")
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
}
