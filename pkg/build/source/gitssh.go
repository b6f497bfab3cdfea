// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bufio"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/proa-containers/proa/pkg/subid"
)

// systemSSH is what ssh reads for every user of the host.
const systemSSH = "/etc/ssh/ssh_config"

// sshCommand is the ssh for git to use; "": the usual one.
//
// ssh refuses a file that its configuration includes and that neither root nor the user
// owns. In a user namespace the files of the host's root are nobody's, so ssh ends at once
// where a distribution or the administrator has put one into /etc/ssh/ssh_config.d. Then it
// reads the user's own configuration only.
func sshCommand() string {
	if os.Geteuid() == 0 && subid.HostUID() == 0 || !includesFiles(systemSSH) {
		return ""
	}
	u, err := user.LookupId(strconv.Itoa(subid.HostUID()))
	if err != nil {
		return "ssh -F none"
	}
	own := filepath.Join(u.HomeDir, ".ssh", "config")
	if _, err := os.Stat(own); err != nil {
		return "ssh -F none"
	}
	return "ssh -F '" + strings.ReplaceAll(own, "'", `'\''`) + "'"
}

// includesFiles says whether a configuration of ssh includes a file that is there.
func includesFiles(config string) bool {
	f, err := os.Open(config)
	if err != nil {
		return false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		words := strings.FieldsFunc(lines.Text(), func(r rune) bool { return strings.ContainsRune(" \t=\"", r) })
		if len(words) == 0 || !strings.EqualFold(words[0], "include") {
			continue
		}
		for _, pattern := range words[1:] {
			if !filepath.IsAbs(pattern) {
				pattern = filepath.Join(filepath.Dir(config), pattern)
			}
			if found, err := filepath.Glob(pattern); err == nil && len(found) > 0 {
				return true
			}
		}
	}
	return false
}
