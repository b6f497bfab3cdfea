// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/pkg/spec"
)

// The parts of the manual that --help lacks.

// environmentTable lists the environment variables that Proa reads.
var environmentTable = []spec.Option{
	{Name: "BUILDKIT_PROGRESS", About: `The default of "proa build --progress".`},
	{Name: "CONTAINERS_POLICY_JSON", About: "The signature policy to use."},
	{Name: "CONTAINERS_REGISTRIES_CONF", About: "The file with mirrors, short names and credential helpers of registries."},
	{Name: "CONTAINERS_STORAGE_CONF", About: `The configuration of the store that "proa pull containers-storage:IMAGE" reads.`},
	{Name: "DBUS_SESSION_BUS_ADDRESS", About: "The address of the user's systemd, which gives containers control groups."},
	{Name: "DOCKER_AUTH_CONFIG", About: "Credentials of registries: the text of a Docker config.json."},
	{Name: "DOCKER_CONFIG", About: "The directory of Docker's own credentials, else ~/.docker."},
	{Name: "GPG_TTY", About: "The terminal on which gpg asks for the passphrase of a key."},
	{Name: "HOME", About: "The home directory."},
	{Name: "HTTP_PROXY, HTTPS_PROXY, FTP_PROXY, NO_PROXY", About: "The proxies for registries. Containers and builds " +
		"get them, too (--http-proxy). The names may be in small letters."},
	{Name: "NO_COLOR", About: "Any value but the empty one turns colours off."},
	{Name: "PROA_DATA_DIR", About: "The directory of images, containers and volumes, as --data-dir."},
	{Name: "PROA_REGISTRY_SILENCE", About: "How long Proa waits for a silent registry before it tries again, such as 30s."},
	{Name: "PROA_RUN_DIR", About: "The directory of locks and sockets, as --run-dir."},
	{Name: "REGISTRY_AUTH_FILE", About: "The file with the credentials of registries, as --authfile."},
	{Name: "SHELL", About: `What "proa unshare" runs without a command.`},
	{Name: "GIT_SSH_COMMAND, GIT_SSH", About: `The ssh that git uses for the repositories of "proa build".`},
	{Name: "GIT_SSL_CAINFO", About: `The authorities that "proa build --cert-dir" adds to for repositories, instead of the system's.`},
	{Name: "SOURCE_DATE_EPOCH", About: `The default of "proa build --source-date-epoch".`},
	{Name: "SSH_AUTH_SOCK", About: `The agent that "proa build --ssh default" hands on.`},
	{Name: "SUDO_USER", About: `The user who called sudo: "sudo proa ps" says that the list is root's.`},
	{Name: "TERM", About: `"dumb" turns moving lines and colours off.`},
	{Name: "TZ", About: "The time zone of --tz local."},
	{Name: "XDG_CONFIG_HOME", About: "The directory of the user's configuration, else ~/.config."},
	{Name: "XDG_DATA_HOME", About: "Proa keeps its data in proa below it, unless PROA_DATA_DIR is set."},
	{Name: "XDG_RUNTIME_DIR", About: "Proa keeps locks and sockets in proa below it, unless PROA_RUN_DIR is set."},
}

var filesTable = []spec.Option{
	{Name: "~/.local/share/proa", About: "Images, containers and volumes of the user; those of root are in /var/lib/proa."},
	{Name: "$XDG_RUNTIME_DIR/proa", About: "Locks and sockets of running containers; those of root are in /run/proa."},
	{Name: "/etc/subuid, /etc/subgid", About: "The ranges of ids that a user's containers can have."},
	{Name: "~/.config/containers/registries.conf, /etc/containers/registries.conf", About: "Mirrors, short names, blocked and " +
		"insecure registries."},
	{Name: "~/.config/containers/auth.json", About: `Credentials, written by "proa login".`},
	{Name: "~/.config/containers/policy.json, /etc/containers/policy.json", About: "Which images are accepted, written by " +
		`"proa image trust set".`},
	{Name: "/etc/containers/registries.d", About: "Where to find the signatures of images."},
	{Name: "/etc/containers/certs.d", About: "Certificates of registries."},
}

// optionsIntro is the sentence before the words that the value of a flag is made of.
func optionsIntro(d *flagDef) string {
	switch d.name {
	case "filter":
		return "Filters. An object must match every filter. Of several values for one filter it needs to match one; " +
			"of several labels, all."
	case "format":
		return "Fields with the titles of their columns, as in {{.Name}}. Templates have the functions " +
			strings.Join(output.TemplateFunctions(), ", ") + " beside those of Go."
	case "volume":
		return "[SOURCE:]TARGET[:OPTION[,OPTION...]]. SOURCE is a directory that begins with / or a dot, or the name of a " +
			"volume; without one the volume is anonymous. Options:"
	}
	return "Fields, separated by commas."
}

// optionHead is how an option is written: "until=TIME".
func optionHead(o spec.Option) string {
	if o.Arg == "" {
		return o.Name
	}
	return o.Name + "=" + o.Arg
}

// detailed are the flags of a command whose values the manual lists.
func detailed(f *flagSet) []*flagDef {
	return slices.DeleteFunc(visible(f), func(d *flagDef) bool { return len(d.options) == 0 })
}

// seeAlso are the pages near that of a command.
func seeAlso(c *call) []string {
	pages := []string{}
	if n := len(c.path); n > 1 {
		words := strings.Fields(c.words)
		for i := 1; i < len(words); i++ {
			pages = append(pages, strings.Join(words[:i], "-"))
		}
	}
	for _, s := range c.command().sub {
		if !s.hidden {
			pages = append(pages, docFile(c, s))
		}
	}
	for i, p := range pages {
		pages[i] = p + "(1)"
	}
	return pages
}

func markdownDetails(c *call) string {
	var b strings.Builder
	table := func(rows []spec.Option, head func(spec.Option) string) {
		b.WriteString("\n| | |\n|-|-|\n")
		for _, o := range rows {
			fmt.Fprintf(&b, "| `%s` | %s |\n", strings.ReplaceAll(head(o), "|", "\\|"), cellText(o.About))
		}
	}
	for _, d := range detailed(c.flags) {
		fmt.Fprintf(&b, "\n`--%s`: %s\n", d.name, optionsIntro(d))
		table(d.options, optionHead)
	}
	return b.String()
}

// cellText escapes text for a cell of a table.
func cellText(s string) string {
	return strings.NewReplacer("|", "\\|", "<", "&lt;", ">", "&gt;").Replace(s)
}

// manList is a list with a head for each paragraph.
func manList(rows []spec.Option, head func(spec.Option) string) string {
	var b strings.Builder
	for _, o := range rows {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(head(o)), roff(o.About))
	}
	return b.String()
}

func optionName(o spec.Option) string { return o.Name }

// manText turns paragraphs into those of a manual page. Lines that begin with blanks
// stay as they are.
func manText(text string) string {
	var b strings.Builder
	kept := false
	for _, line := range strings.Split(text, "\n") {
		indented := strings.HasPrefix(line, " ")
		if indented != kept && line != "" {
			kept = indented
			b.WriteString(map[bool]string{true: ".nf\n", false: ".fi\n"}[kept])
		}
		if line == "" {
			line = ".PP"
		} else {
			line = roff(line)
		}
		b.WriteString(line + "\n")
	}
	if kept {
		b.WriteString(".fi\n")
	}
	return b.String()
}
