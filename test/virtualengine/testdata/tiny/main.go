// Command tiny is all that the suite's images hold: one static program that
// does the small things which tests want containers to do.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var commands = map[string]func(args []string) error{
	"sleep":   sleep,
	"stay":    stay,
	"echo":    echo,
	"err":     complain,
	"cat":     cat,
	"exit":    exit,
	"env":     environment,
	"id":      id,
	"spam":    spam,
	"tick":    tick,
	"touch":   touch,
	"write":   write,
	"remove":  remove,
	"list":    list,
	"signals": signals,
	"sum":     sum,
	"serve":   serve,
	"get":     get,
	"tty":     tty,
	"shell":   shell,
	"hog":     hog,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "tiny: unknown command", os.Args[1:])
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "tiny:", err)
		os.Exit(1)
	}
}

// sleep ends with status 0 after a time, or when it is told to.
func sleep(args []string) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	end := make(<-chan time.Time)
	if len(args) > 0 {
		d, err := time.ParseDuration(args[0])
		if err != nil {
			return err
		}
		end = time.After(d)
	}
	select {
	case <-stop:
	case <-end:
	}
	return nil
}

// stay ends only when it is killed.
func stay([]string) error {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
	fmt.Println("staying")
	for {
		time.Sleep(time.Hour)
	}
}

func echo(args []string) error {
	fmt.Println(strings.Join(args, " "))
	return nil
}

func complain(args []string) error {
	fmt.Fprintln(os.Stderr, strings.Join(args, " "))
	return nil
}

// cat copies files, or standard input, to standard output.
func cat(args []string) error {
	if len(args) == 0 {
		_, err := io.Copy(os.Stdout, os.Stdin)
		return err
	}
	for _, name := range args {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if _, err := os.Stdout.Write(data); err != nil {
			return err
		}
	}
	return nil
}

// exit ends with a status, at once or after a time.
func exit(args []string) error {
	code, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	if len(args) > 1 {
		if err := sleep(args[1:]); err != nil {
			return err
		}
	}
	os.Exit(code)
	return nil
}

func environment([]string) error {
	for _, e := range os.Environ() {
		fmt.Println(e)
	}
	return nil
}

// id says who and where the process is.
func id([]string) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	fmt.Printf("uid=%d gid=%d pid=%d host=%s dir=%s\n", os.Getuid(), os.Getgid(), os.Getpid(), host, dir)
	return nil
}

// spam writes numbered lines, every tenth to standard error.
func spam(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	for i := 1; i <= n; i++ {
		if i%10 == 0 {
			if err := out.Flush(); err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "error %d\n", i)
			continue
		}
		fmt.Fprintf(out, "line %d\n", i)
	}
	return out.Flush()
}

// tick writes a line again and again, until it is told to stop.
func tick(args []string) error {
	every := 100 * time.Millisecond
	if len(args) > 0 {
		var err error
		if every, err = time.ParseDuration(args[0]); err != nil {
			return err
		}
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	for i := 1; ; i++ {
		fmt.Println("tick", i)
		select {
		case <-stop:
			return nil
		case <-time.After(every):
		}
	}
}

func touch(args []string) error {
	for _, name := range args {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		f.Close()
	}
	return nil
}

// write writes its words to a file.
func write(args []string) error {
	if err := os.MkdirAll(filepath.Dir(args[0]), 0o755); err != nil {
		return err
	}
	return os.WriteFile(args[0], []byte(strings.Join(args[1:], " ")+"\n"), 0o644)
}

func remove(args []string) error {
	var errs []error
	for _, name := range args {
		errs = append(errs, os.RemoveAll(name))
	}
	return errors.Join(errs...)
}

func list(args []string) error {
	for _, dir := range args {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			fmt.Println(e.Name())
		}
	}
	return nil
}

// signals names the signals that reach it, and ends at SIGTERM with 143. In
// between it says that it is there, for those who come late.
func signals([]string) error {
	got := make(chan os.Signal, 16)
	signal.Notify(got, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTERM)
	fmt.Println("ready")
	for {
		select {
		case sig := <-got:
			fmt.Println("got", unix.SignalName(sig.(syscall.Signal)))
			if sig == syscall.SIGTERM {
				os.Exit(143)
			}
		case <-time.After(200 * time.Millisecond):
			fmt.Println("ready")
		}
	}
}

// sum says how much came over standard input, and its checksum.
func sum([]string) error {
	hash := sha256.New()
	n, err := io.Copy(hash, os.Stdin)
	fmt.Printf("%d %x\n", n, hash.Sum(nil))
	return err
}

// serve answers HTTP on an address with its host name.
func serve(args []string) error {
	addr := ":80"
	if len(args) > 0 {
		addr = args[0]
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	context.AfterFunc(stop, func() { os.Exit(0) })
	fmt.Println("serving on", addr)
	return http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "hello from %s\n", host)
	}))
}

// get prints what an HTTP server answers.
func get(args []string) error {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(args[0])
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(os.Stdout, resp.Body)
	return err
}

// tty says whether it has a terminal and how large it is. With an argument it
// waits for that size.
func tty(args []string) error {
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	deadline := time.After(10 * time.Second)
	for {
		size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
		if err != nil {
			fmt.Println("no terminal")
			return nil
		}
		now := fmt.Sprintf("%dx%d", size.Row, size.Col)
		if len(args) == 0 || args[0] == now {
			fmt.Println("terminal", now)
			return nil
		}
		select {
		case <-resized:
		case <-time.After(100 * time.Millisecond):
		case <-deadline:
			return fmt.Errorf("the terminal is %s, not %s", now, args[0])
		}
	}
}

// shell reads lines and answers each; "exit N" ends it.
func shell([]string) error {
	fmt.Print("> ")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if code, ok := strings.CutPrefix(lines.Text(), "exit "); ok {
			return exit([]string{code})
		}
		fmt.Printf("you said %s\n> ", lines.Text())
	}
	fmt.Println("end of input")
	return nil
}

// hog takes so many MiB of memory and keeps them.
func hog(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	block := make([]byte, n<<20)
	for i := 0; i < len(block); i += 4096 {
		block[i] = 1
	}
	fmt.Println("holding", n, "MiB")
	return sleep(nil)
}
