// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"strconv"
	"strings"
)

// signalNames are Linux's signals below the real-time ones, index = number.
var signalNames = [...]string{"", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
	"PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM",
	"PROF", "WINCH", "IO", "PWR", "SYS"}

const (
	sigRTMin = 34 // as the C library counts: the kernel's first two are its own
	sigRTMax = 64
)

// SignalNames are the names of all signals but the real-time ones.
func SignalNames() []string { return signalNames[1:] }

// ParseSignal parses a signal: 9, KILL, SIGKILL, RTMIN+3. The result is its
// number.
func ParseSignal(value string) (int, error) {
	bad := invalid("write a name such as TERM or a number from 1 to 64", "invalid signal: %s", value)
	if n, err := strconv.Atoi(value); err == nil {
		if n < 1 || n > sigRTMax {
			return 0, bad
		}
		return n, nil
	}
	name := strings.TrimPrefix(strings.ToUpper(value), "SIG")
	for n, s := range signalNames {
		if n > 0 && s == name {
			return n, nil
		}
	}
	switch name {
	case "IOT":
		return 6, nil
	case "CLD":
		return 17, nil
	case "POLL":
		return 29, nil
	}
	return parseRealtime(name, bad)
}

func parseRealtime(name string, bad error) (int, error) {
	base, rest, sign := sigRTMin, "", 1
	switch {
	case strings.HasPrefix(name, "RTMIN"):
		rest = name[len("RTMIN"):]
	case strings.HasPrefix(name, "RTMAX"):
		base, rest, sign = sigRTMax, name[len("RTMAX"):], -1
	default:
		return 0, bad
	}
	if rest == "" {
		return base, nil
	}
	if (sign > 0) != (rest[0] == '+') || (sign < 0 && rest[0] != '-') {
		return 0, bad
	}
	n, err := strconv.ParseUint(rest[1:], 10, 8)
	if err != nil || n > sigRTMax-sigRTMin {
		return 0, bad
	}
	return base + sign*int(n), nil
}

// SignalName is the name of signal n with its SIG, or the number.
func SignalName(n int) string {
	switch {
	case n > 0 && n < len(signalNames):
		return "SIG" + signalNames[n]
	case n == sigRTMin:
		return "SIGRTMIN"
	case n > sigRTMin && n <= sigRTMax:
		return "SIGRTMIN+" + strconv.Itoa(n-sigRTMin)
	}
	return strconv.Itoa(n)
}
