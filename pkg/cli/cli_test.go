// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/proa-containers/proa/cmd/proa/cli/output"
	"github.com/proa-containers/proa/pkg/errs"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s", file, got)
	}
}

func TestGrammar(t *testing.T) {
	for line, want := range map[string]string{
		"run -itd alpine sh":                  "run --interactive=true --tty=true --detach=true -- alpine sh",
		"run -p80:80 -eA=b --rm alpine ls -l": "run --publish=80:80 --env=A=b --rm=true -- alpine ls -l",
		"run --rm=false alpine":               "run --rm=false -- alpine",
		"run -h web alpine":                   "run --hostname=web -- alpine",
		"run -- alpine -x":                    "run -- alpine -x",
		"run --entrypoint= alpine":            "run --entrypoint= -- alpine",
		"container run -m 1g alpine":          "container run --memory=1g -- alpine",
		"rm web -f job":                       "rm --force=true -- web job",
		"rm -fv web":                          "rm --force=true --volumes=true -- web",
		"ps -aq":                              "ps --all=true --quiet=true --",
		"container ls -n5":                    "container ls --last=5 --",
		"container list -a":                   "container ls --all=true --",
		"logs --tail 5 --follow web":          "logs --tail=5 --follow=true -- web",
		"logs web -fn5":                       "logs --follow=true --tail=5 -- web",
		"--log-level debug ps":                "--log-level=debug ps --",
		"exec -it -e A=1 web sh -c x":         "exec --interactive=true --tty=true --env=A=1 -- web sh -c x",
		"exec -u=root web id":                 "exec --user=root -- web id",
		"run --net host alpine":               "run --network=host -- alpine",
		"top web -o pid":                      "top -- web -o pid",
		"-v":                                  "--version=true",
		"run --foo alpine":                    "!unknown flag: --foo",
		"run -Z alpine":                       "!unknown shorthand flag: 'Z' in -Z",
		"run -iZ alpine":                      "!unknown shorthand flag: 'Z' in -iZ",
		"run --name":                          "!flag needs an argument: --name",
		"run -itp":                            "!flag needs an argument: 'p' in -itp",
		"run":                                 `!"proa run" requires at least 1 argument`,
		"rename a":                            `!"proa rename" requires exactly 2 arguments`,
		"ps x":                                `!"proa ps" accepts no arguments`,
		"port a b c":                          `!"proa port" requires at most 2 arguments`,
		"rn":                                  "!Did you mean 'proa run'?",
		"container lst":                       "!'lst' is not a proa container command.",
		"volume -x":                           "!unknown flag: -x",
		"":                                    "",
	} {
		c, err := understand(tree(), globalFlags(&globals{}), strings.Fields(line))
		if part, bad := strings.CutPrefix(want, "!"); bad {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v, want %s", line, err, part)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if got := strings.Join(c.argv, " "); got != want && !c.help {
			t.Errorf("%s:\n got %s\nwant %s", line, got, want)
		}
	}
}

func TestCalls(t *testing.T) {
	for line, want := range map[string]string{
		"rm web -f":                         "rm web force=true volumes=false",
		"rm -fa":                            "rm " + webID + " force=true volumes=false|rm " + jobID + " force=true volumes=false",
		"stop -t 3 web job":                 "stop job 3 |stop web 3 ",
		"stop web":                          "stop web nil ",
		"stop --time=0 -s INT web":          "stop web 0 INT",
		"stop -a":                           "stop " + webID + " nil ",
		"kill -s HUP web":                   "kill web HUP",
		"kill web":                          "kill web KILL",
		"start web job":                     "start web attach=false|start job attach=false",
		"start -ai web":                     "start web attach=true",
		"exec web ps":                       `exec web ["ps"] env=[] tty=false detach=false in=false`,
		"exec -i -e FROMHOST web cat":       `exec web ["cat"] env=["FROMHOST=val-FROMHOST"] tty=false detach=false in=true`,
		"exec -d -t web ls -l":              `exec web ["ls" "-l"] env=[] tty=true detach=true in=false`,
		"logs -tf --tail 5 web":             "logs web tail=5 follow=true t=true",
		"container logs web":                "logs web tail=-1 follow=false t=false",
		"wait --condition removed web":      "wait web removed",
		"run -d --name q alpine sh -c x":    `run detach=true in=false {"name":"q","image":"alpine","pull":"missing","process":{"args":["sh","-c","x"]},"network":{"dns":{}},"resources":{},"security":{},"logging":{},"lifecycle":{"restart":{}}}`,
		"run -i --rm --network none alpine": `run detach=false in=true {"image":"alpine","pull":"missing","process":{"openStdin":true,"stdinOnce":true,"attach":["stdin","stdout","stderr"]},"network":{"mode":"none","dns":{}},"resources":{},"security":{},"logging":{},"lifecycle":{"autoRemove":true,"restart":{}}}`,
		"create -p 8080:80 -v data:/d -m 64m --cap-drop all --entrypoint /x img": `create {"image":"img","pull":"missing","process":{"entrypoint":["/x"]},"mounts":[{"type":"volume","source":"data","target":"/d"}],"network":{"ports":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}],"dns":{}},"resources":{"memory":67108864},"security":{"capDrop":["ALL"]},"logging":{},"lifecycle":{"restart":{}}}`,
		"create --volumes-from web:ro img":                                       `create {"image":"img","pull":"missing","process":{},"mounts":[{"type":"volume","source":"data","target":"/data","readOnly":true}],"network":{"dns":{}},"resources":{},"security":{},"logging":{},"lifecycle":{"restart":{}}}`,
	} {
		r := proa(strings.Fields(line)...)
		if !strings.HasPrefix(line, "start") {
			// Stopping and the like is done side by side.
			slices.Sort(r.calls)
		}
		if got := strings.Join(r.calls, "|"); got != want || r.code != 0 {
			t.Errorf("%s: status %d %s\n got %s\nwant %s", line, r.code, r.errOut, got, want)
		}
	}
}

func TestFailures(t *testing.T) {
	for line, want := range map[string]struct {
		code int
		text string
	}{
		"run --gpus all x":                    {125, "proa: --gpus is not supported: "},
		"run -p 80:x img":                     {125, "proa: invalid containerPort: x\nhint: write "},
		"run --memory 1x img":                 {125, `proa: invalid argument "1x" for "-m, --memory" flag: invalid size: '1x'`},
		"run --rm --restart always img":       {125, "Conflicting options: --restart and --rm"},
		"run -it img":                         {1, "the input device is not a TTY"},
		"run -d -a stdout img":                {125, "Conflicting options: -a and -d"},
		"run --name .x img":                   {125, "Invalid container name (.x), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"},
		"run --mount type=bind,source=/a img": {125, `invalid argument "type=bind,source=/a" for "--mount" flag: target is required`},
		"run":                                 {125, "\"proa run\" requires at least 1 argument\nSee 'proa run --help'.\n\nUsage:  proa run [OPTIONS] IMAGE [COMMAND] [ARG...]\n"},
		"rm":                                  {1, "\"proa rm\" requires at least 1 argument"},
		"rm nope web":                         {1, "proa: No such container: nope\n"},
		"rm --foo":                            {125, "proa: unknown flag: --foo\nSee 'proa rm --help'.\n"},
		"foo":                                 {125, "proa: 'foo' is not a proa command.\nSee 'proa --help'.\n"},
		"psuh x":                              {125, "Did you mean 'proa push'?"},
		"cp web:/etc/passwd .":                {125, "proa: proa cp is not supported: Proa cannot copy files into and out of containers yet\nhint: proa exec "},
		"cp --help":                           {125, "proa cp is not supported: "},
		"container cp a b":                    {125, "proa container cp is not supported: "},
		"network create --driver x n":         {125, "proa network is not supported: "},
		"buildx create --use":                 {125, "proa builder create is not supported: there is no builder to create"},
		"buildx use mine":                     {1, "no builder \"mine\" found\nhint: there is one builder"},
		"image cp":                            {125, "'cp' is not a proa image command."},
		"volume exists nope":                  {1, ""},
		"inspect nope":                        {1, "proa: No such object: nope\n"},
		"image inspect nope":                  {1, "proa: No such image: nope\n"},
		"kill -s FOO web":                     {125, "invalid signal: FOO"},
		"port web 81":                         {1, "No public port '81/tcp' published for web"},
		"ps -f bogus":                         {1, "invalid filter"},
		"ps --format {{.Foo}}":                {1, "template parsing error: "},
		"ps --format {{":                      {1, "template parsing error: "},
		"-H tcp://x ps":                       {125, "--host is not supported: there is no daemon to connect to"},
	} {
		r := proa(strings.Fields(line)...)
		if r.code != want.code || !strings.Contains(r.errOut, want.text) {
			t.Errorf("%s: status %d, want %d; %s", line, r.code, want.code, r.errOut)
		}
	}
	if r := proa("rm", "nope", "web"); r.out != "web\n" || len(r.calls) != 1 {
		t.Errorf("rm goes on after an error: %+v", r)
	}
	if r := proa("inspect", "nope"); r.out != "[]\n" {
		t.Errorf("inspect prints %q", r.out)
	}
}

func TestExitStatus(t *testing.T) {
	for _, c := range []struct {
		err  error
		line string
		code int
	}{
		{&errs.ExitError{Code: 42}, "run img", 42},
		{errs.New(errs.CommandMissing, "not found"), "run img nope", 127},
		{errs.New(errs.CannotInvoke, "permission denied"), "exec web /etc", 126},
		{errs.New(errs.Internal, "broken"), "run img", 125},
		{errs.New(errs.Internal, "broken"), "start web", 1},
		{&errs.ExitError{Code: 3}, "start -a web", 3},
		{errs.New(errs.CommandMissing, "not found"), "start -a web", 127},
	} {
		f := &fakeEngine{err: c.err}
		if r := f.call(strings.NewReader(""), strings.Fields(c.line)...); r.code != c.code {
			t.Errorf("%s with %v: status %d, want %d", c.line, c.err, r.code, c.code)
		}
	}
	f := &fakeEngine{err: errs.New(errs.Unsupported, "none")}
	if r := f.call(strings.NewReader(""), "container", "logs", "web"); !strings.Contains(r.errOut, "Error response from daemon: configured logging driver does not support reading") {
		t.Errorf("logs says %s", r.errOut)
	}
}

func TestOutput(t *testing.T) {
	for name, args := range map[string][]string{
		"ps.golden":            {"ps", "-a"},
		"ps-notrunc.golden":    {"ps", "-a", "--no-trunc"},
		"ps-quiet.golden":      {"ps", "-aq"},
		"ps-table.golden":      {"ps", "-a", "--format", `table {{.ID}}\t{{.Names}}\t{{.Label "com.x.tier"}}\t{{.Status}}`},
		"ps-template.golden":   {"ps", "--format", `{{.Names}}: {{.Label "tier"}} {{upper .State}} {{.Mounts}} {{.LocalVolumes}}`},
		"port.golden":          {"port", "web"},
		"images.golden":        {"images"},
		"images-digest.golden": {"images", "--digests"},
		"inspect.golden":       {"inspect", "web"},
		"inspect-image.golden": {"image", "inspect", "my-alpine"},
		"help-rm.golden":       {"rm", "--help"},
		"help-ps.golden":       {"container", "ls", "-h"},
		"help.golden":          {"--help"},
		"help-volume.golden":   {"volume"},
	} {
		r := proa(args...)
		if r.code != 0 {
			t.Errorf("%v: status %d: %s", args, r.code, r.errOut)
		}
		golden(t, name, r.out)
	}
}

func TestInspectFormat(t *testing.T) {
	for format, want := range map[string]string{
		"{{.State.Running}} {{.State.Pid}}": "true 4711",
		"{{.Id}}":                           webID,
		"{{.NetworkSettings.IPAddress}}":    "172.17.0.2",
		"{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}":       "172.17.0.2",
		`{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}`: "8080",
		"{{json .Mounts}}": `[{"Type":"volume","Name":"data","Source":"/vol/data/_data","Destination":"/data","Driver":"local","Mode":"","RW":true,"Propagation":""}]`,
		"{{json .State}}":  `{"Status":"running","Running":true,"Paused":false,"Restarting":false,"OOMKilled":false,"Dead":false,"Pid":4711,"ExitCode":0,"Error":"","StartedAt":"2026-01-02T03:04:06Z","FinishedAt":"0001-01-01T00:00:00Z"}`,
		`{{index .Config.Labels "l"}}{{join .Config.Env ","}}`: "1PATH=/bin,A=2",
		"{{.Name}}":                   "/web",
		"{{.HostConfig.NetworkMode}}": "bridge",
	} {
		r := proa("container", "inspect", "-f", format, "web")
		if r.out != want+"\n" {
			t.Errorf("%s: %q %s", format, r.out, r.errOut)
		}
	}
	if r := proa("image", "inspect", "--format={{json .ContainerConfig.Volumes}}", "my-alpine"); r.out != `{"/data/db":{}}`+"\n" {
		t.Errorf("volumes of an image: %q", r.out)
	}
	if r := proa("inspect", "-f", "{{.Foo}}", "web"); r.code != 1 || !strings.Contains(r.errOut, `map has no entry for key "Foo"`) {
		t.Errorf("unknown name: %d %s", r.code, r.errOut)
	}
}

// TestTree checks what the grammar and the documents rely on.
func TestTree(t *testing.T) {
	var walk func(c *command, words string)
	walk = func(c *command, words string) {
		if (c.setup == nil) == (len(c.sub) == 0) {
			t.Errorf("%s must have either subcommands or a setup", words)
		}
		if c.short == "" || strings.HasSuffix(c.short, ".") {
			t.Errorf("%s: bad description %q", words, c.short)
		}
		names := map[string]bool{}
		for _, s := range c.sub {
			for _, n := range append([]string{s.name}, s.aliases...) {
				if names[n] {
					t.Errorf("%s: %s twice", words, n)
				}
				names[n] = true
			}
			walk(s, words+" "+s.name)
		}
		if c.setup == nil {
			return
		}
		f := &flagSet{}
		c.setup(f)
		seen := map[string]bool{}
		for _, d := range f.list {
			for _, n := range append([]string{"--" + d.name, "-" + d.short}, d.aliases...) {
				if n != "-" && seen[n] {
					t.Errorf("%s: flag %s twice", words, n)
				}
				seen[n] = true
			}
			if strings.HasSuffix(d.usage, ".") || d.usage == "" && !d.hidden {
				t.Errorf("%s --%s: bad description %q", words, d.name, d.usage)
			}
		}
	}
	walk(tree(), "proa")
}

func TestDocsAgree(t *testing.T) {
	dir := filepath.Join("..", "..", "docs")
	if *update {
		if err := WriteDocs(dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := CheckDocs(dir); err != nil {
		t.Error(err)
	}
}

// BenchmarkParse is what the command line itself costs a run.
func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		if r := proa("run", "-d", "--name", "web", "-p", "8080:80", "-v", "/a:/b", "alpine", "sh"); r.code != 0 {
			b.Fatal(r.errOut)
		}
	}
}

// FuzzGrammar wants every command line understood or refused, and an accepted
// one to mean the same when it is read again.
func FuzzGrammar(f *testing.F) {
	for _, s := range []string{"run -itd --rm a b -c", "ps -aq", "--log-level x container ls -n5", "rm -f -- -x", "exec -e A=b w -h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		c, err := understand(tree(), globalFlags(&globals{}), strings.Fields(line))
		if err != nil || c.help {
			return
		}
		again, err := understand(tree(), globalFlags(&globals{}), c.argv)
		if err != nil || strings.Join(again.argv, " ") != strings.Join(c.argv, " ") {
			t.Errorf("%q became %q and then %+v %v", line, c.argv, again, err)
		}
	})
}

// Ctrl-C ends a command for several objects at the one that it reaches, and nobody
// tells of it.
func TestCancelledAmongSeveral(t *testing.T) {
	for line, calls := range map[string]int{"start web job": 1, "stop web job": 2, "kill web job": 2, "rm web job": 2} {
		f := &fakeEngine{err: fmt.Errorf("it was ended: %w", context.Canceled)}
		r := f.call(strings.NewReader(""), strings.Fields(line)...)
		if r.code != 130 || r.out+r.errOut != "" || len(r.calls) > calls {
			t.Errorf("%s: status %d, %q, calls %q", line, r.code, r.out+r.errOut, r.calls)
		}
	}
}

// What is done side by side is told in the order of the command line, each as soon
// as those before it are known.
func TestSideBySide(t *testing.T) {
	var out, errOut bytes.Buffer
	a := &app{out: output.New(&out, &errOut)}
	second := make(chan struct{})
	err := a.sideBySide([]string{"first", "second", "third"}, func(ref string) (string, error) {
		switch ref {
		case "first":
			<-second // they do run at the same time
		case "second":
			defer close(second)
			return "", errs.New(errs.NotFound, "no second")
		}
		return ref, nil
	})
	if out.String() != "first\nthird\n" || errOut.String() != "proa: no second\n" || err == nil {
		t.Errorf("%q, %q, %v", out.String(), errOut.String(), err)
	}
}

// A hint may quote a Dockerfile or an image, as the error does.
func TestHintIsShownPlainly(t *testing.T) {
	f := &fakeEngine{err: errs.WithHint(errs.New(errs.Invalid, "no"), "stages are: a\x1b[2Jb")}
	if r := f.call(strings.NewReader(""), "stop", "web"); !strings.Contains(r.errOut, "hint: stages are: a [2Jb\n") {
		t.Errorf("%q", r.errOut)
	}
}
