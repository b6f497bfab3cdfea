// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/proa-containers/proa/pkg/errs"
)

// check compares got, as JSON, with want; a want that starts with "!" is a
// part of the expected error.
func check(t *testing.T, in string, got any, err error, want string) {
	t.Helper()
	if part, isErr := strings.CutPrefix(want, "!"); isErr {
		if err == nil {
			t.Errorf("%q: no error, want %q", in, part)
			return
		}
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q: error %q, want %q", in, err, part)
		}
		if k := errs.KindOf(err); k != errs.Invalid && k != errs.Unsupported {
			t.Errorf("%q: kind %v", in, k)
		}
		return
	}
	if err != nil {
		t.Errorf("%q: %v", in, err)
		return
	}
	b, _ := json.Marshal(got)
	if string(b) != want {
		t.Errorf("%q:\n got %s\nwant %s", in, b, want)
	}
}

func TestParsePublish(t *testing.T) {
	for in, want := range map[string]string{
		"80":                 `[{"containerPort":80,"protocol":"tcp"}]`,
		"80/UDP":             `[{"containerPort":80,"protocol":"udp"}]`,
		"8080:80":            `[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]`,
		"8080:80/sctp":       `[{"hostPort":8080,"containerPort":80,"protocol":"sctp"}]`,
		"127.0.0.1:8080:80":  `[{"hostIP":"127.0.0.1","hostPort":8080,"containerPort":80,"protocol":"tcp"}]`,
		"127.0.0.1::80":      `[{"hostIP":"127.0.0.1","containerPort":80,"protocol":"tcp"}]`,
		"[::1]:53:53/udp":    `[{"hostIP":"::1","hostPort":53,"containerPort":53,"protocol":"udp"}]`,
		"::1:53:53":          `[{"hostIP":"::1","hostPort":53,"containerPort":53,"protocol":"tcp"}]`,
		"0:80":               `[{"containerPort":80,"protocol":"tcp"}]`,
		"8000-8001:80-81":    `[{"hostPort":8000,"containerPort":80,"protocol":"tcp"},{"hostPort":8001,"containerPort":81,"protocol":"tcp"}]`,
		"8000-8010:80":       `[{"hostPort":8000,"hostPortEnd":8010,"containerPort":80,"protocol":"tcp"}]`,
		"80-81":              `[{"containerPort":80,"protocol":"tcp"},{"containerPort":81,"protocol":"tcp"}]`,
		"8000-8002:80-81":    "!invalid ranges specified for container and host Ports: 80-81 and 8000-8002",
		"":                   "!no port specified",
		"8080:":              "!no port specified: 8080:<empty>",
		"80:0":               "!invalid containerPort: 0",
		"a:80":               "!invalid hostPort: a",
		"127.0.0.1:80":       "!invalid hostPort: 127.0.0.1",
		"80/icmp":            "!invalid proto: icmp",
		"65536":              "!invalid containerPort: 65536",
		"300.1.1.1:80:80":    "!invalid IP address: 300.1.1.1",
		"90-80":              "!invalid containerPort: 90-80",
		"-1:80":              "!invalid hostPort: -1",
		"fe80::1%eth0:80:80": "!invalid IP address",
	} {
		got, err := ParsePublish(in)
		check(t, in, got, err, want)
	}
	got, err := ParsePublishes([]string{"80:80", "80:80", "81"})
	check(t, "all", len(got), err, "2")
	got, err = ParseExpose("7000-7001/udp")
	check(t, "expose", got, err, `[{"containerPort":7000,"protocol":"udp"},{"containerPort":7001,"protocol":"udp"}]`)
	_, err = ParseExpose("80:80")
	check(t, "expose", nil, err, "!invalid port format for --expose")
}

func TestParseVolume(t *testing.T) {
	for in, want := range map[string]string{
		"/data":               `{"type":"volume","target":"/data"}`,
		"/src:/dst":           `{"type":"bind","source":"/src","target":"/dst","createSource":true}`,
		"/src/:/dst/:ro":      `{"type":"bind","source":"/src","target":"/dst","readOnly":true,"createSource":true}`,
		"./x:/dst":            `{"type":"bind","source":"/base/x","target":"/dst","createSource":true}`,
		"..:/dst":             `{"type":"bind","source":"/","target":"/dst","createSource":true}`,
		"name:/dst":           `{"type":"volume","source":"name","target":"/dst"}`,
		"name:/dst:nocopy,ro": `{"type":"volume","source":"name","target":"/dst","readOnly":true,"noCopy":true}`,
		"/s:/d:Z,U,rslave":    `{"type":"bind","source":"/s","target":"/d","propagation":"rslave","createSource":true,"chown":true,"relabel":"Z"}`,
		"/data:ro":            `{"type":"volume","target":"/data","readOnly":true}`,
		"/s:/d:noexec,cached": `{"type":"bind","source":"/s","target":"/d","createSource":true,"options":["noexec"]}`,
		"":                    "!invalid volume specification: ''",
		":/x":                 "!empty section between colons",
		"/a:/b:ro:x":          "!invalid volume specification",
		"foo/bar:/x":          `!"foo/bar" includes invalid characters for a local volume name`,
		"name:x":              "!invalid mount path: 'x' mount path must be absolute",
		"/a:/":                "!destination can't be '/'",
		"/a:/b:ro,rw":         "!invalid mode: ro,rw",
		"/a:/b:bogus":         "!invalid mode: bogus",
		"/a:/b:nocopy":        "!invalid mode: nocopy",
		"/a:/b:O":             "!overlay mounts (:O) are not supported",
		"name:/b:rshared":     "!invalid mode: rshared",
	} {
		got, err := ParseVolume(in, "/base")
		check(t, in, got, err, want)
	}
}

func TestParseMount(t *testing.T) {
	for in, want := range map[string]string{
		"type=bind,source=/a,target=/b":                                                      `{"type":"bind","source":"/a","target":"/b"}`,
		"type=bind,src=a,dst=/b,ro":                                                          `{"type":"bind","source":"/base/a","target":"/b","readOnly":true}`,
		"type=bind,src=/a,dst=/b,readonly=false":                                             `{"type":"bind","source":"/a","target":"/b"}`,
		"source=v,target=/b,volume-nocopy":                                                   `{"type":"volume","source":"v","target":"/b","noCopy":true}`,
		"type=tmpfs,target=/t,tmpfs-size=64m,tmpfs-mode=1770":                                `{"type":"tmpfs","target":"/t","tmpfsSize":67108864,"tmpfsMode":1016}`,
		`type=volume,dst=/b,volume-driver=local,"volume-opt=o=uid=1,gid=2",volume-label=a=b`: `{"type":"volume","target":"/b","driver":"local","driverOpts":{"o":"uid=1,gid=2"},"labels":{"a":"b"}}`,
		"type=bind,src=/a,dst=/b,bind-propagation=rshared,bind-nonrecursive":                 `{"type":"bind","source":"/a","target":"/b","propagation":"rshared","nonRecursive":true}`,
		"src=v,dst=/b,volume-subpath=x/y":                                                    `{"type":"volume","source":"v","target":"/b","subpath":"x/y"}`,
		"src=v,dst=/b,volume-subpath=../y":                                                   "!subpath must be a relative path",
		"type=bind,target=/b":                                                                "!field Source must not be empty",
		"type=bind,source=/a":                                                                "!target is required",
		"type=,source=/a":                                                                    "!type is required",
		"type=foo,target=/a":                                                                 `!mount type unknown: "foo"`,
		"type=image,target=/a":                                                               `!mount type "image" is not supported`,
		"type=bind,src=/a,dst=/b,bogus=1":                                                    "!unexpected key 'bogus' in 'bogus=1'",
		"type=bind,src=/a,dst=/b,bogus":                                                      "!unexpected key 'bogus' in 'bogus'",
		"type=bind,source,dst=/b":                                                            "!invalid field 'source' must be a key=value pair",
		"type=bind,src=/a,dst=/b,ro=maybe":                                                   "!invalid value for ro: maybe",
		"type=tmpfs,dst=/b,volume-nocopy":                                                    "!cannot mix 'volume-*' options with mount type 'tmpfs'",
		"type=volume,dst=/b,tmpfs-size=1m":                                                   "!cannot mix 'tmpfs-*' options with mount type 'volume'",
		"type=tmpfs,src=/x,dst=/b":                                                           "!field Source must not be specified",
		"type=bind,src=/a,dst=b":                                                             "!mount path must be absolute",
		"":                                                                                   "!cannot split",
	} {
		got, err := ParseMount(in, "/base")
		check(t, in, got, err, want)
	}
}

func TestParseTmpfs(t *testing.T) {
	for in, want := range map[string]string{
		"/run":                              `{"type":"tmpfs","target":"/run"}`,
		"/run:rw,noexec,nosuid,size=65536k": `{"type":"tmpfs","target":"/run","tmpfsSize":67108864,"options":["noexec","nosuid"]}`,
		"/run:size=50%,mode=1777,uid=5":     `{"type":"tmpfs","target":"/run","tmpfsMode":1023,"options":["size=50%","uid=5"]}`,
		"/run:uid=4294967294":               `{"type":"tmpfs","target":"/run","options":["uid=4294967294"]}`,
		"/run:uid=4294967296":               "!invalid value for uid: 4294967296",
		"/run:gid=4294967295":               "!invalid value for gid: 4294967295",
		"/run:gid=-1":                       "!invalid value for gid: -1",
		"/run:size=x%":                      "!invalid value for size: x%",
		"/run:nr_inodes=x":                  "!invalid value for nr_inodes: x",
		"/run:nr_inodes=10k,huge=never":     `{"type":"tmpfs","target":"/run","options":["nr_inodes=10240","huge=never"]}`,
		"/run:huge=yes":                     "!invalid value for huge: yes",
		"/run:uid=root":                     "!invalid value for uid: root",
		"/run:uid":                          "!invalid value for uid: ",
		"/run:bogus":                        `!invalid tmpfs option ["bogus"]`,
		"run":                               "!must be absolute",
		"/run:mode=9":                       "!invalid value for mode: 9",
	} {
		got, err := ParseTmpfs(in)
		check(t, in, got, err, want)
	}
}

func TestParseSizesAndLimits(t *testing.T) {
	for in, want := range map[string]string{
		"0": "0", "1024": "1024", "1k": "1024", "512m": "536870912", "1.5g": "1610612736", "2GiB": "2147483648", "10 MB": "10485760", "7b": "7",
		"": "!invalid size: ''", "m": "!invalid size: 'm'", "-1": "!invalid size: '-1'", "1x": "!invalid size", "99999999999999t": "!invalid size", "1..2": "!invalid size", "nan": "!invalid size",
	} {
		got, err := ParseSize(in)
		check(t, in, got, err, want)
	}
	for in, want := range map[string]string{
		"1.5": "1500000000", "0.001": "1000000", "2": "2000000000",
		"x": "!failed to parse x as a rational number", "0.0000000001": "!value is too precise", "1e9": "!failed to parse", "-1": "!invalid number of CPUs",
	} {
		got, err := ParseCPUs(in)
		check(t, in, got, err, want)
	}
	for in, want := range map[string]string{
		"nofile=10":    `{"name":"nofile","soft":10,"hard":10}`,
		"nofile=10:20": `{"name":"nofile","soft":10,"hard":20}`,
		"core=-1":      `{"name":"core","soft":-1,"hard":-1}`,
		"core=0:-1":    `{"name":"core","soft":0,"hard":-1}`,
		"nofile":       "!invalid ulimit argument: nofile",
		"foo=1":        "!invalid ulimit type: foo",
		"nofile=1:2:3": "!too many limit values - 1:2:3",
		"nofile=20:10": "!less than or equal to hard limit: 20 > 10",
		"nofile=-1:10": "!less than or equal to hard limit",
		"nofile=x":     "!invalid ulimit value",
	} {
		got, err := ParseUlimit(in)
		check(t, in, got, err, want)
	}
	for in, want := range map[string]string{
		"no": `{"name":"no"}`, "": `{}`, "always": `{"name":"always"}`, "on-failure:3": `{"name":"on-failure","maxRetries":3}`, "unless-stopped": `{"name":"unless-stopped"}`,
		"always:3":      "!maximum retry count can only be used with 'on-failure'",
		"on-failure:x":  "!maximum retry count must be an integer",
		"on-failure:-1": "!cannot be negative",
		"sometimes":     "!unknown policy 'sometimes'",
	} {
		got, err := ParseRestart(in)
		check(t, in, got, err, want)
	}
	for in, want := range map[string]string{"TERM": "15", "sigterm": "15", "9": "9", "RTMIN+3": "37", "RTMAX-1": "63", "0": "!invalid signal: 0", "65": "!invalid signal", "FOO": "!invalid signal: FOO", "RTMIN-1": "!invalid signal", "SIGPOLL": "29"} {
		got, err := ParseSignal(in)
		check(t, in, got, err, want)
	}
	for in, want := range map[string]string{"linux/amd64": `"linux/amd64"`, "arm64": `"linux/arm64"`, "linux/x86_64": `"linux/amd64"`, "linux/arm/v7": `"linux/arm/v7"`, "windows/amd64": "!only linux containers", "linux//x": "!invalid OS or platform", "foo": "!unknown operating system or architecture"} {
		got, err := ParsePlatform(in)
		check(t, in, got, err, want)
	}
	for in, want := range map[string]string{
		"linux/arm": `"linux/arm/v7"`, "linux/arm/6": `"linux/arm/v6"`, "armel": `"linux/arm/v6"`, "linux/armhf": `"linux/arm/v7"`,
		"linux/arm64/v8": `"linux/arm64"`, "linux/aarch64/8": `"linux/arm64"`, "linux/arm64/v9": `"linux/arm64/v9"`, "linux/amd64/v1": `"linux/amd64"`,
		"linux/amd64/v3": `"linux/amd64/v3"`, "i386": `"linux/386"`, "Windows/AMD64": `"windows/amd64"`, "macos/arm64": `"darwin/arm64"`,
		"linux": `"linux/` + runtime.GOARCH + `"`, "darwin": `"darwin/` + runtime.GOARCH + `"`, "linux/unheard-of": `"linux/unheard-of"`,
		"foo": "!unknown operating system or architecture", "": "!invalid OS or platform", "linux/foo/bar/baz": "!cannot parse platform specifier",
		"linux/": "!invalid OS or platform", "lin ux/amd64": "!invalid OS or platform",
	} {
		got, err := ParseAnyPlatform(in)
		check(t, in, got, err, want)
	}
}

func TestParseNetwork(t *testing.T) {
	for in, want := range map[string]string{
		"":                                 `{"dns":{}}`,
		"host":                             `{"mode":"host","dns":{}}`,
		"none":                             `{"mode":"none","dns":{}}`,
		"bridge":                           `{"mode":"bridge","networks":[{"name":"bridge"}],"dns":{}}`,
		"container:db":                     `{"mode":"container","container":"db","dns":{}}`,
		"pasta:-a,10.0.0.1":                `{"mode":"pasta","options":["-a","10.0.0.1"],"dns":{}}`,
		"net1 net2":                        `{"mode":"bridge","networks":[{"name":"net1"},{"name":"net2"}],"dns":{}}`,
		"net1:alias=a,alias=b,ip=10.1.2.3": `{"mode":"bridge","networks":[{"name":"net1","aliases":["a","b"],"ip":"10.1.2.3"}],"dns":{}}`,
		"name=net1,ip6=fd00::1,mac-address=02:00:00:00:00:01": `{"mode":"bridge","networks":[{"name":"net1","ip6":"fd00::1","mac":"02:00:00:00:00:01"}],"dns":{}}`,
		"container:":        "!invalid container format container:<name|id>",
		"host net1":         "!conflicting options",
		"net1 net1":         `!network "net1" is specified multiple times`,
		"net1:ip=x":         "!invalid IPv4 address",
		"net1:foo=x":        "!invalid field key foo",
		"a/b":               `!invalid network name "a/b"`,
		"ns:/proc/1/ns/net": "!is not supported",
	} {
		got, err := ParseNetwork(NetworkFlags{Networks: strings.Fields(in)})
		check(t, in, got, err, want)
	}
	got, err := ParseNetwork(NetworkFlags{IP: "172.17.0.9", Aliases: []string{"x"}})
	check(t, "--ip", got, err, `{"networks":[{"name":"bridge","aliases":["x"],"ip":"172.17.0.9"}],"dns":{}}`)
	_, err = ParseNetwork(NetworkFlags{IP: "172.17.0.9", Networks: []string{"host"}})
	check(t, "--ip with host", nil, err, "!need a bridge network")
	for in, want := range map[string]string{
		"db:10.0.0.1":      `[{"name":"db","ip":"10.0.0.1"}]`,
		"db=10.0.0.1":      `[{"name":"db","ip":"10.0.0.1"}]`,
		"db:::1":           `[{"name":"db","ip":"::1"}]`,
		"db:[::1]":         `[{"name":"db","ip":"::1"}]`,
		"a;b:host-gateway": `[{"name":"a","ip":"host-gateway"},{"name":"b","ip":"host-gateway"}]`,
		"db":               `!bad format for add-host: "db"`,
		"db:x":             `!invalid IP address in add-host: "x"`,
	} {
		got, err := ParseAddHost(in)
		check(t, in, got, err, want)
	}
	_, err = ParseDNS([]string{"1.1.1.1", "nope"}, nil, nil)
	check(t, "dns", nil, err, "!nope is not an ip address")
}

func TestParseSecurity(t *testing.T) {
	host := SecurityHost{ReadFile: func(n string) ([]byte, error) {
		if n == "p.json" {
			return []byte("{}"), nil
		}
		return nil, errors.New("no such file")
	}}
	for in, want := range map[string]string{
		"no-new-privileges":       `{"noNewPrivs":true}`,
		"no-new-privileges:false": `{}`,
		"no-new-privileges=true":  `{"noNewPrivs":true}`,
		"seccomp=unconfined":      `{"seccomp":"unconfined"}`,
		"seccomp=p.json":          `{"seccomp":"{}"}`,
		"apparmor=unconfined":     `{"apparmor":"unconfined"}`,
		"label=disable":           `{}`,
		"mask=/a:/b":              `{"mask":["/a","/b"]}`,
		"unmask=ALL":              `{"unmask":["ALL"]}`,
		"systempaths=unconfined":  `{"unmask":["ALL"]}`,
		"seccomp=missing":         "!opening seccomp profile (missing) failed",
		"label=type:x":            "!no SELinux",
		"mask=a":                  `!path "a" is not absolute`,
		"bogus":                   `!invalid --security-opt: "bogus"`,
		"bogus=1":                 "!invalid --security-opt",
	} {
		var s Security
		err := s.ApplySecurityOpt(in, host)
		check(t, in, s, err, want)
	}
	for in, want := range map[string]string{
		"/dev/fuse":            `{"host":"/dev/fuse","container":"/dev/fuse","permissions":"rwm"}`,
		"/dev/fuse:/dev/x:r":   `{"host":"/dev/fuse","container":"/dev/x","permissions":"r"}`,
		"/dev/fuse:rw":         `{"host":"/dev/fuse","container":"/dev/fuse","permissions":"rw"}`,
		"/dev/fuse:/dev/x:rwx": "!invalid device mode: rwx",
		"fuse":                 "!not an absolute path",
		"a:b:c:d":              "!invalid device specification",
		"vendor.com/gpu=0":     "!CDI devices are not supported",
	} {
		got, err := ParseDevice(in)
		check(t, in, got, err, want)
	}
	got, err := ParseCaps([]string{"cap_net_admin,sys_time", "ALL"})
	check(t, "caps", got, err, `["NET_ADMIN","SYS_TIME","ALL"]`)
	_, err = ParseCaps([]string{"fly"})
	check(t, "caps", nil, err, `!invalid capability: "fly"`)
	_, err = ParseSysctls([]string{"vm.swappiness=1"})
	check(t, "sysctl", nil, err, "!sysctl 'vm.swappiness' is not allowed")
	for in, want := range map[string]string{"keep-id": `"keep-id"`, "keep-id:uid=5,gid=6": `"keep-id:uid=5,gid=6"`, "host": `"host"`, "": `""`, "keep-id:x=1": "!invalid option", "what": "!unknown user namespace mode", "ns:/x": "!not supported"} {
		got, err := ParseUserns(in)
		check(t, in, got, err, want)
	}
}

func TestParseEnv(t *testing.T) {
	lookup := func(k string) (string, bool) { return "host-" + k, k == "HOME" }
	got, err := ParseEnv([]string{"A=1", "B=", "HOME", "MISSING", "C=x=y"}, lookup)
	check(t, "env", got, err, `["A=1","B=","HOME=host-HOME","MISSING","C=x=y"]`)
	_, err = ParseEnv([]string{"=x"}, lookup)
	check(t, "env", nil, err, "!invalid environment variable: =x")
	got, err = ParseEnvFile("f", []byte("\xef\xbb\xbfA=1\r\n# c\n\n  B=\"q\" # no comment\nHOME\nNOPE\n"), lookup)
	check(t, "file", got, err, `["A=1","B=\"q\" # no comment","HOME=host-HOME"]`)
	for in, want := range map[string]string{"A B=1": "!variable 'A B' contains whitespaces", "=1": "!no variable name on line '=1'", "\xff=1": "!invalid utf8 bytes at line 1"} {
		_, err = ParseEnvFile("f", []byte(in), lookup)
		check(t, in, nil, err, want)
	}
	labels, err := ParseLabels([]string{"a=b", "c", "a=d"})
	check(t, "labels", labels, err, `{"a":"d","c":""}`)
	h, err := ParseHealth(HealthFlags{Cmd: "true", Interval: "5s", Retries: 2})
	check(t, "health", h, err, `{"test":["CMD-SHELL","true"],"interval":5000000000,"retries":2}`)
	h, err = ParseHealth(HealthFlags{Disable: true})
	check(t, "health", h, err, `{"test":["NONE"]}`)
	_, err = ParseHealth(HealthFlags{Disable: true, Cmd: "x"})
	check(t, "health", nil, err, "!--no-healthcheck conflicts")
	for in, want := range map[string]string{"root": `"root"`, "1000:1000": `"1000:1000"`, ":5": "!invalid user", "99999999999": "!out of range", "a:b:c": "!invalid user"} {
		got, err := ParseUser(in)
		check(t, in, got, err, want)
	}
	check(t, "name", nil, CheckContainerName("a b"), "!Invalid container name (a b), only [a-zA-Z0-9]")
}

func FuzzPublish(f *testing.F) {
	for _, s := range []string{"80", "127.0.0.1:8080:80/udp", "[::1]:1-3:1-3", "1-65535"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ports, err := ParsePublish(s)
		if err != nil {
			return
		}
		if len(ports) == 0 {
			t.Fatalf("%q: accepted without a port", s)
		}
		for _, p := range ports {
			if p.ContainerPort == 0 || p.Protocol == "" || p.HostPortEnd != 0 && p.HostPortEnd < p.HostPort {
				t.Fatalf("%q: %+v", s, p)
			}
		}
	})
}

func FuzzVolume(f *testing.F) {
	for _, s := range []string{"/a", "/a:/b:ro", "n:/b:nocopy", "./x:/y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checkMount(t, s, ParseVolume) })
}

func FuzzMount(f *testing.F) {
	for _, s := range []string{"type=bind,src=/a,dst=/b,ro", `type=volume,"volume-opt=a=b,c",dst=/x`, "type=tmpfs,dst=/x,tmpfs-size=1k"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checkMount(t, s, ParseMount) })
}

func checkMount(t *testing.T, s string, parse func(string, string) (Mount, error)) {
	m, err := parse(s, "/base")
	if err != nil {
		return
	}
	if m.Target == "" || m.Target[0] != '/' || m.Target == "/" || strings.Contains(m.Target, "/../") || strings.HasSuffix(m.Target, "/..") {
		t.Fatalf("%q: target %q", s, m.Target)
	}
	if m.Type == MountBind && m.Source[0] != '/' || m.Type == MountVolume && m.Source != "" && !validName(m.Source) {
		t.Fatalf("%q: source %q", s, m.Source)
	}
}

func FuzzEnvFile(f *testing.F) {
	f.Add([]byte("A=1\n#x\nB"))
	f.Fuzz(func(t *testing.T, b []byte) {
		env, err := ParseEnvFile("f", b, func(string) (string, bool) { return "v", true })
		if err != nil {
			return
		}
		for _, e := range env {
			if strings.IndexByte(e, '=') < 1 || strings.ContainsAny(e, "\n\x00") {
				t.Fatalf("%q gave %q", b, e)
			}
		}
	})
}

// TestOptionTables wants what the manual lists to be understood.
func TestOptionTables(t *testing.T) {
	for _, o := range VolumeOptions {
		source := "/host"
		if o.Name == "nocopy" {
			source = "data"
		}
		if _, err := ParseVolume(source+":/target:"+o.Name, "/"); err != nil {
			t.Errorf("-v ...:%s: %v", o.Name, err)
		}
	}
	for _, o := range MountFields {
		typ, _, _ := strings.Cut(o.Name, "-")
		base := map[string]string{"volume": "type=volume,source=data,target=/x", "tmpfs": "type=tmpfs,target=/x"}[typ]
		if base == "" {
			base = "type=bind,source=/host,target=/x"
		}
		values := o.Values
		switch {
		case o.Arg == "":
			values = []string{""}
		case len(values) == 0:
			values = []string{"/1"} // a path, and without the slash a number
		}
		if o.Name == "type" { // the others have shown it
			continue
		}
		for _, v := range values {
			field := o.Name
			if o.Arg != "" {
				field += "=" + strings.TrimPrefix(v, map[bool]string{true: "/"}[typ == "tmpfs" || o.Name == "volume-subpath"])
			}
			if _, err := ParseMount(base+","+field, "/"); err != nil {
				t.Errorf("--mount %s: %v", field, err)
			}
		}
	}
}
