// SPDX-License-Identifier: Apache-2.0

package uplink

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/proa-containers/proa/pkg/errs"
)

// A machine without any helper program: the built-in stack, and if there is
// none, bridges without a way out.
func TestChooseWithoutHelpers(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	d, _, err := Options{Netstack: []string{"proa"}}.choose()
	if err != nil || !slices.Equal(d, []Driver{Netstack, None}) {
		t.Errorf("%v, %v", d, err)
	}
	d, why, err := Options{}.choose()
	if err != nil || !slices.Equal(d, []Driver{None}) || !strings.Contains(why, "slirp4netns is not installed") {
		t.Errorf("%v, %q, %v", d, why, err)
	}
	_, _, err = Options{Driver: Slirp4netns}.choose()
	if !errs.Is(err, errs.Unsupported) || errs.HintOf(err) == "" {
		t.Error(err)
	}
}

func TestInfoRoundTrip(t *testing.T) {
	f := files{t.TempDir()}
	if _, err := f.readInfo(); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	want := Info{PID: 1, NetnsFD: 20, Inode: 7, Driver: None, Host: netip.MustParseAddr("10.0.2.2"), Warning: "w"}
	if err := f.writeInfo(want); err != nil {
		t.Fatal(err)
	}
	if got, err := f.readInfo(); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
}

// A monitor that finds no uplink says what to do.
func TestJoinWithoutUplink(t *testing.T) {
	proc, err := os.Open("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer proc.Close()
	if _, err := Join(t.TempDir(), proc); !errs.Is(err, errs.Unavailable) || errs.HintOf(err) == "" {
		t.Error(err)
	}
}

func TestSlirpArguments(t *testing.T) {
	c := config{Subnet: netip.MustParsePrefix("10.0.3.0/24")}
	got := strings.Join(c.slirp("/proc/self/fd/20"), " ")
	if !strings.Contains(got, "--disable-host-loopback") || !strings.Contains(got, "--cidr=10.0.3.0/24") || strings.Contains(got, "ipv6") {
		t.Error(got)
	}
	c.HostLoopback, c.IPv6 = true, true
	if got := strings.Join(c.slirp("x"), " "); strings.Contains(got, "host-loopback") || !strings.Contains(got, "--enable-ipv6") {
		t.Error(got)
	}
	if c.host().String() != "10.0.3.2" {
		t.Error(c.host())
	}
}
