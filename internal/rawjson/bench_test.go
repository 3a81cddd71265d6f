package rawjson_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/skep/skep/internal/rawjson"
)

// item is one container of `GET /containers/json`, as a 28.x engine sends it.
const item = `{"Id":"8dfafdbc3a40c0a8f5c0d0a4e34e0a2d3f1e9f0a5c9a4f0f8e6d7c6b5a493827","Names":["/web.1.q8x1y2z3"],` +
	`"Image":"nginx:1.27","ImageID":"sha256:d74508fb6632491cea586a1fd7d748dfc5274cd6fdfedee309ecdcbc2bf5cb82",` +
	`"Command":"/docker-entrypoint.sh nginx -g 'daemon off;'","Created":1367854155,` +
	`"Ports":[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},{"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"}],` +
	`"Labels":{"com.docker.compose.project":"shop","com.docker.compose.service":"web","com.docker.swarm.id":"abcdef"},` +
	`"State":"running","Status":"Up 3 minutes (healthy)","HostConfig":{"NetworkMode":"bridge"},` +
	`"NetworkSettings":{"Networks":{"bridge":{"IPAMConfig":null,"Links":null,"Aliases":null,"MacAddress":"02:42:ac:11:00:02",` +
	`"DriverOpts":null,"NetworkID":"7ea29fc1412292a2d7bba362f9253545fecdfa8ce9a6e37dd10ba8bee7129812","EndpointID":"abc",` +
	`"Gateway":"172.17.0.1","IPAddress":"172.17.0.2","IPPrefixLen":16,"IPv6Gateway":"","GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"DNSNames":null}}},` +
	`"Mounts":[{"Type":"volume","Name":"data","Source":"","Destination":"/data","Driver":"local","Mode":"z","RW":true,"Propagation":""}]}`

func BenchmarkParseObject(b *testing.B) {
	data := []byte(item)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := rawjson.ParseObject(data); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParseObject_peers is what the obvious alternatives cost.
func BenchmarkParseObject_peers(b *testing.B) {
	data := []byte(item)
	b.Run("json.Valid alone", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			json.Valid(data)
		}
	})
	b.Run("map of json.RawMessage", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			var m map[string]json.RawMessage
			if err := json.Unmarshal(data, &m); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkEditListItem(b *testing.B) {
	data := []byte(item)
	names := json.RawMessage(`["/node-17/web.1.q8x1y2z3"]`)
	b.ReportAllocs()
	for b.Loop() {
		o, err := rawjson.ParseObject(data)
		if err != nil {
			b.Fatal(err)
		}
		o.SetRaw("Names", names)
		if err := o.Set("Status", "Up 4 minutes (healthy)"); err != nil {
			b.Fatal(err)
		}
		if len(o.Bytes()) == 0 {
			b.Fatal("empty")
		}
	}
}

func BenchmarkSplit(b *testing.B) {
	for _, n := range []int{30, 30_000} {
		b.Run(fmt.Sprintf("%d items", n), func(b *testing.B) {
			list := []byte("[" + string(bytes.Repeat([]byte(item+","), n-1)) + item + "]")
			b.SetBytes(int64(len(list)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := rawjson.Split(list); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseObjects(b *testing.B) {
	const n = 30_000
	list := []byte("[" + string(bytes.Repeat([]byte(item+","), n-1)) + item + "]")
	b.SetBytes(int64(len(list)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := rawjson.ParseObjects(list); err != nil {
			b.Fatal(err)
		}
	}
}
