package election

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// maxAddress is the longest name of a host that DNS knows, with a port.
const maxAddress = 253 + len(":65535")

// CheckAddress tells what is wrong with an address at which a manager is to be
// reached. It comes from the command line or from a store into which others
// write too, and requests of users are sent to it.
func CheckAddress(address string) error {
	if len(address) > maxAddress {
		return fmt.Errorf("the address of a manager has %d characters; HOST:PORT has at most %d", len(address), maxAddress)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is no address of a manager: write HOST:PORT", address)
	}
	if strings.HasPrefix(address, "[") && !strings.Contains(host, ":") {
		return fmt.Errorf("%q is no address of a manager: brackets are for IPv6 addresses", address)
	}
	if err := checkHost(host); err != nil {
		return fmt.Errorf("%q is no address of a manager: %w", address, err)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '0' {
		return fmt.Errorf("%q is no address of a manager: its port must be a number from 1 to 65535", address)
	}
	return nil
}

// checkHost takes names and IP addresses, IPv6 with a zone included.
func checkHost(host string) error {
	if host == "" {
		return errors.New("it names no host that others can reach")
	}
	if ip, zone, zoned := strings.Cut(host, "%"); strings.Contains(host, ":") {
		if net.ParseIP(ip) == nil || zoned && !isName(zone) {
			return errors.New("its host is no IPv6 address")
		}
		return nil
	}
	if !isName(host) {
		return errors.New("a host has letters, digits, dots, dashes and underscores only")
	}
	return nil
}

func isName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-', r == '_':
			return false
		}
		return true
	})
}
