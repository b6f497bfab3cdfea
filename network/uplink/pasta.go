// SPDX-License-Identifier: Apache-2.0

package uplink

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/proa-containers/proa/network/netns"
	"github.com/proa-containers/proa/network/rtnl"
)

// PastaRefuses is why pasta cannot be used here, or nil: run by real root it
// gives its privileges up before it opens the namespace.
func PastaRefuses() error {
	data, err := os.ReadFile("/proc/self/uid_map")
	if err != nil || os.Geteuid() != 0 || !slices.Equal(strings.Fields(string(data)), []string{"0", "0", "4294967295"}) {
		return nil
	}
	return errors.New("pasta does not work for root")
}

// PastaArgs are the arguments with which pasta connects the namespace at path
// through the interface name and forwards no ports by itself.
func PastaArgs(path, name string) []string {
	return []string{"--config-net", "--foreground", "--quiet", "--ns-ifname", name,
		"--mtu", fmt.Sprint(MTU), "--tcp-ports", "none", "--udp-ports", "none",
		"--tcp-ns", "none", "--udp-ns", "none", "--netns", path}
}

// WaitTap waits until pasta has made and configured its interface: it tells
// nobody when it is ready.
func WaitTap(ns *os.File, ended <-chan error) error {
	deadline := time.Now().Add(5 * time.Second)
	for {
		up, err := tapConfigured(ns)
		if err != nil || up {
			return err
		}
		select {
		case err := <-ended:
			return fmt.Errorf("pasta ended: %v", err)
		case <-time.After(2 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return errors.New("pasta did not configure the interface")
		}
	}
}

func tapConfigured(ns *os.File) (up bool, err error) {
	err = netns.Do(func(int) error {
		c, err := rtnl.Open()
		if err != nil {
			return err
		}
		defer c.Close()
		routes, err := c.Routes()
		for _, r := range routes {
			up = up || r.Dst.Bits() == 0
		}
		return err
	}, ns)
	return up, err
}
