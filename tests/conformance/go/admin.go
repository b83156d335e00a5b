package main

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func (d *driver) administer(ctx context.Context, c *call) (any, error) {
	switch c.Op {
	case "create_topic":
		configs := map[string]*string{}
		for name, value := range c.Configs {
			configs[name] = &value
		}
		_, err := d.admin.CreateTopic(ctx, c.Partitions, c.Replication, configs, c.Topic)
		return nil, err
	case "delete_topic":
		_, err := d.admin.DeleteTopic(ctx, c.Topic)
		return nil, err
	case "list_topics":
		topics, err := d.admin.ListTopicsWithInternal(ctx)
		return topics.Names(), err
	case "partition_count":
		topics, err := d.admin.ListTopics(ctx, c.Topic)
		if err != nil {
			return nil, err
		}
		return len(topics[c.Topic].Partitions), topics[c.Topic].Err
	case "topic_config":
		return d.topicConfig(ctx, c.Topic)
	case "set_topic_config":
		change := kadm.AlterConfig{Op: kadm.SetConfig, Name: c.Key, Value: c.Value}
		if c.Value == nil {
			change.Op = kadm.DeleteConfig
		}
		answers, err := d.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{change}, c.Topic)
		if err != nil {
			return nil, err
		}
		return nil, answers[0].Err
	case "add_partitions":
		answers, err := d.admin.UpdatePartitions(ctx, c.Total, c.Topic)
		if err != nil {
			return nil, err
		}
		return nil, answers.Error()
	case "delete_records":
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: c.Topic, Partition: c.Partition, At: c.BeforeOffset})
		answers, err := d.admin.DeleteRecords(ctx, offsets)
		if err != nil {
			return nil, err
		}
		return nil, answers.Error()
	case "offset":
		return d.offset(ctx, c)
	case "log_size":
		return d.logSize(ctx, c)
	case "cluster":
		metadata, err := d.admin.BrokerMetadata(ctx)
		return []any{metadata.Cluster, metadata.Brokers.NodeIDs()}, err
	}
	return d.administerGroups(ctx, c)
}

func (d *driver) topicConfig(ctx context.Context, topic string) (any, error) {
	answers, err := d.admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return nil, err
	}
	one, err := answers.On(topic, nil)
	if err != nil {
		return nil, err
	}
	configs := map[string]*string{}
	for _, config := range one.Configs {
		configs[config.Key] = config.Value
	}
	return configs, one.Err
}

func (d *driver) offset(ctx context.Context, c *call) (any, error) {
	var listed kadm.ListedOffsets
	var err error
	switch query := c.Query.(type) {
	case float64:
		listed, err = d.admin.ListOffsetsAfterMilli(ctx, int64(query), c.Topic)
	case string:
		ask := map[string]func(context.Context, ...string) (kadm.ListedOffsets, error){
			"earliest": d.admin.ListStartOffsets, "latest": d.admin.ListEndOffsets,
			"max_timestamp": d.admin.ListMaxTimestampOffsets,
		}
		listed, err = ask[query](ctx, c.Topic)
	}
	if err != nil {
		return nil, err
	}
	found, _ := listed.Lookup(c.Topic, c.Partition)
	_, byTime := c.Query.(float64)
	if found.Offset < 0 || byTime && found.Timestamp < 0 { // kadm puts the end where nothing is that late
		return nil, found.Err
	}
	return found.Offset, found.Err
}

func (d *driver) logSize(ctx context.Context, c *call) (any, error) {
	answers, err := d.admin.DescribeAllLogDirs(ctx, nil)
	if err != nil {
		return nil, err
	}
	var size int64
	answers.Each(func(directory kadm.DescribedLogDir) {
		for _, partition := range directory.Topics[c.Topic] {
			size += partition.Size
		}
	})
	return size, nil
}

func (d *driver) administerGroups(ctx context.Context, c *call) (any, error) {
	switch c.Op {
	case "list_groups":
		groups, err := d.admin.ListGroups(ctx)
		return groups.Groups(), err
	case "describe_group":
		if c.Protocol == "consumer" {
			return d.describeConsumerGroup(ctx, c.Group)
		}
		groups, err := d.admin.DescribeGroups(ctx, c.Group)
		if err != nil {
			return nil, err
		}
		members := [][]any{}
		for _, member := range groups[c.Group].Members {
			owned := [][]any{}
			if assigned, ok := member.Assigned.AsConsumer(); ok {
				for _, topic := range assigned.Topics {
					for _, partition := range topic.Partitions {
						owned = append(owned, []any{topic.Topic, partition})
					}
				}
			}
			members = append(members, []any{member.InstanceID, owned})
		}
		return map[string]any{"state": groups[c.Group].State, "members": members}, groups[c.Group].Err
	case "delete_group":
		_, err := d.admin.DeleteGroup(ctx, c.Group)
		return nil, err
	case "group_offsets":
		offsets, err := d.admin.FetchOffsets(ctx, c.Group)
		rows := [][]any{}
		for partition, one := range offsets[c.Topic] {
			rows = append(rows, []any{partition, one.At, one.Metadata})
		}
		return rows, err
	case "set_group_offset":
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: c.Topic, Partition: c.Partition, At: c.Offset, LeaderEpoch: -1})
		return nil, d.admin.CommitAllOffsets(ctx, c.Group, offsets)
	case "delete_group_offset":
		set := kadm.TopicsSet{}
		set.Add(c.Topic, c.Partition)
		answers, err := d.admin.DeleteOffsets(ctx, c.Group, set)
		if err != nil {
			return nil, err
		}
		err, found := answers.Lookup(c.Topic, c.Partition)
		if !found {
			return nil, kerr.UnknownTopicOrPartition
		}
		return nil, err
	}
	return nil, fmt.Errorf("unknown call %s", c.Op)
}

func (d *driver) describeConsumerGroup(ctx context.Context, name string) (any, error) {
	groups, err := d.admin.DescribeConsumerGroups(ctx, name)
	if err != nil {
		return nil, err
	}
	members := [][]any{}
	for _, member := range groups[name].Members {
		owned := [][]any{}
		member.Assignment.Each(func(topic string, partition int32) {
			owned = append(owned, []any{topic, partition})
		})
		members = append(members, []any{member.InstanceID, owned})
	}
	return map[string]any{"state": groups[name].State, "members": members}, groups[name].Err
}
