package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// consumer is a reader of one partition or a member of a group.
type consumer struct {
	client    *kgo.Client
	topic     string
	partition int32
	lock      sync.Mutex
	owned     map[int32]bool
}

func (d *driver) open(c *call) (any, error) {
	one := &consumer{topic: c.Topic, partition: c.Partition, owned: map[int32]bool{}}
	options := []kgo.Opt{kgo.SeedBrokers(d.bootstrap)}
	if c.Committed != nil {
		level := kgo.ReadUncommitted()
		if *c.Committed {
			level = kgo.ReadCommitted()
		}
		options = append(options, kgo.FetchIsolationLevel(level))
	}
	if c.Op == "join" {
		options = append(options,
			kgo.ConsumerGroup(c.Group), kgo.ConsumeTopics(c.Topic), kgo.DisableAutoCommit(),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, gained map[string][]int32) {
				one.note(gained[c.Topic], true)
			}),
			kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
				one.note(lost[c.Topic], false)
			}),
			kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
				one.note(lost[c.Topic], false)
			}))
		if c.InstanceID != nil && c.Protocol == "consumer" { // its last heartbeat does not name the instance
			return nil, lacking("franz-go 1.22 cannot leave a next-gen group so that a static member may come back")
		}
		if c.InstanceID != nil {
			options = append(options, kgo.InstanceID(*c.InstanceID))
		}
		options = append(options, serverSide(c)...)
	} else {
		begin := kgo.NewOffset()
		switch start := c.Start.(type) {
		case string:
			if start == "earliest" {
				begin = begin.AtStart()
			} else { // resolved here: AtEnd would be resolved some time after this call
				listed, err := d.admin.ListEndOffsets(context.Background(), c.Topic)
				if err != nil {
					return nil, err
				}
				end, _ := listed.Lookup(c.Topic, c.Partition)
				begin = begin.At(end.Offset)
			}
		case float64:
			begin = begin.At(int64(start))
		}
		options = append(options, kgo.ConsumePartitions(
			map[string]map[int32]kgo.Offset{c.Topic: {c.Partition: begin}}))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	one.client = client
	d.next++
	d.consumers[d.next] = one
	return d.next, nil
}

// serverSide is empty for the classic protocol; the other one knows two of the client's balancers by name.
func serverSide(c *call) []kgo.Opt {
	if c.Protocol != "consumer" {
		return nil
	}
	return []kgo.Opt{kgo.ServerSideBalancer(), kgo.Balancers(kgo.RangeBalancer())}
}

func (one *consumer) note(partitions []int32, gained bool) {
	one.lock.Lock()
	defer one.lock.Unlock()
	for _, partition := range partitions {
		if gained {
			one.owned[partition] = true
		} else {
			delete(one.owned, partition)
		}
	}
}

func (one *consumer) answer(ctx context.Context, c *call) (any, error) {
	switch c.Op {
	case "poll":
		return one.poll(ctx, time.Duration(c.TimeoutMs)*time.Millisecond)
	case "assignment":
		one.lock.Lock()
		defer one.lock.Unlock()
		rows := [][]any{}
		for partition := range one.owned {
			rows = append(rows, []any{one.topic, partition})
		}
		return rows, nil
	case "commit":
		if c.Metadata != nil {
			ctx = kgo.PreCommitFnContext(ctx, func(request *kmsg.OffsetCommitRequest) error {
				for i := range request.Topics {
					for j := range request.Topics[i].Partitions {
						request.Topics[i].Partitions[j].Metadata = c.Metadata
					}
				}
				return nil
			})
		}
		return nil, one.client.CommitUncommittedOffsets(ctx)
	case "reader_seek":
		one.client.SetOffsets(at(one.topic, one.partition, c.Offset))
		return nil, nil
	case "member_seek":
		one.client.SetOffsets(at(c.Topic, c.Partition, c.Offset))
		return nil, nil
	case "close":
		one.client.Close()
		return nil, nil
	}
	return nil, fmt.Errorf("unknown call %s", c.Op)
}

func at(topic string, partition int32, offset int64) map[string]map[int32]kgo.EpochOffset {
	return map[string]map[int32]kgo.EpochOffset{topic: {partition: {Epoch: -1, Offset: offset}}}
}

func (one *consumer) poll(ctx context.Context, timeout time.Duration) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	fetches := one.client.PollFetches(ctx)
	for _, failed := range fetches.Errors() {
		if failed.Err != context.DeadlineExceeded {
			return nil, failed.Err
		}
	}
	rows := []map[string]any{}
	fetches.EachRecord(func(r *kgo.Record) {
		headers := [][]any{}
		for _, header := range r.Headers {
			headers = append(headers, []any{header.Key, toText(header.Value)})
		}
		rows = append(rows, map[string]any{
			"topic": r.Topic, "partition": r.Partition, "offset": r.Offset, "key": toText(r.Key),
			"value": toText(r.Value), "headers": headers, "timestamp": r.Timestamp.UnixMilli(),
		})
	})
	return rows, nil
}

func toText(raw []byte) any {
	if raw == nil {
		return nil
	}
	return base64.StdEncoding.EncodeToString(raw)
}

func fromText(text *string) []byte {
	if text == nil {
		return nil
	}
	raw, err := base64.StdEncoding.DecodeString(*text)
	if err != nil {
		panic(err)
	}
	return raw
}
