// Drives kafkajs for the scenarios: one JSON line per call on stdin, one answer on stdout.
'use strict'

const readline = require('node:readline')
const { randomUUID } = require('node:crypto')
const {
  CompressionCodecs, CompressionTypes, ConfigResourceTypes, AssignerProtocol, Kafka, Partitioners, logLevel,
} = require('kafkajs')
const snappy = require('kafkajs-snappy')

CompressionCodecs[CompressionTypes.Snappy] = snappy

class Lacking extends Error {}
class Refused extends Error {
  constructor (code, message) {
    super(message)
    this.code = code
  }
}

const kafka = new Kafka({ brokers: [process.argv[2]], logLevel: logLevel.NOTHING })
const admin = kafka.admin()
const consumers = new Map()

const toBytes = text => (text === null ? null : Buffer.from(text, 'base64'))
const toText = raw => (raw === null || raw === undefined ? null : Buffer.from(raw).toString('base64'))

class Consumer {
  constructor (groupId, topic, partition, readUncommitted) {
    this.topic = topic
    this.partition = partition
    this.queue = []
    this.owned = []
    this.positions = new Map()
    this.awaited = null
    const settings = { groupId, maxWaitTimeInMs: 1000 } // closing waits for it, 5 s by default
    if (readUncommitted !== undefined) settings.readUncommitted = readUncommitted
    this.consumer = kafka.consumer(settings)
    this.consumer.on(this.consumer.events.GROUP_JOIN, ({ payload }) => {
      this.owned = payload.memberAssignment[topic] || []
    })
    this.consumer.on(this.consumer.events.REBALANCING, () => { this.owned = [] })
  }

  async start () {
    await this.consumer.connect()
    await this.consumer.subscribe({ topics: [this.topic], fromBeginning: true })
    await this.consumer.run({
      autoCommit: false,
      eachMessage: async ({ partition, message }) => this.arrived(partition, message),
    })
  }

  arrived (partition, message) {
    if (this.partition !== undefined && partition !== this.partition) return
    if (this.awaited !== null) { // what was on its way when seek() was called
      if (partition !== this.partition || message.offset !== this.awaited) return
      this.awaited = null
    }
    this.queue.push({ partition, message })
  }

  seek (partition, offset) {
    this.queue = this.queue.filter(one => one.partition !== partition)
    if (this.partition !== undefined) this.awaited = String(offset)
    this.consumer.seek({ topic: this.topic, partition, offset: String(offset) })
  }

  async poll (timeoutMs) {
    const deadline = Date.now() + timeoutMs
    while (this.queue.length === 0 && Date.now() < deadline) {
      await new Promise(resolve => setTimeout(resolve, 5))
    }
    const taken = this.queue.splice(0)
    for (const { partition, message } of taken) this.positions.set(partition, BigInt(message.offset) + 1n)
    return taken.map(({ partition, message }) => ({
      topic: this.topic,
      partition,
      offset: Number(message.offset),
      key: toText(message.key),
      value: toText(message.value),
      headers: Object.entries(message.headers || {}).flatMap(
        ([name, values]) => [values].flat().map(value => [name, toText(value)])),
      timestamp: Number(message.timestamp),
    }))
  }

  commit (metadata) {
    return this.consumer.commitOffsets(this.owned.filter(one => this.positions.has(one)).map(partition => (
      { topic: this.topic, partition, offset: String(this.positions.get(partition)), metadata })))
  }
}

function keep (consumer) {
  const handle = consumers.size + 1
  consumers.set(handle, consumer)
  return handle
}

async function offsets (topic, partition) {
  return (await admin.fetchTopicOffsets(topic)).find(one => one.partition === partition)
}

async function produce (call) {
  const codecs = { gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy }
  if (call.compression !== 'none' && !(call.compression in codecs)) {
    throw new Lacking(`kafkajs has no ${call.compression} codec without a native build`)
  }
  const chosen = []
  const createPartitioner = () => {
    const inner = Partitioners.DefaultPartitioner()
    return argument => {
      const partition = inner(argument)
      chosen.push(partition)
      return partition
    }
  }
  const settings = { createPartitioner }
  if (call.idempotent) settings.idempotent = true
  const producer = kafka.producer(settings)
  await producer.connect()
  try {
    const messages = call.messages.map(one => ({
      key: toBytes(one.key),
      value: toBytes(one.value),
      headers: headersOf(one.headers),
      ...(one.partition === null ? {} : { partition: one.partition }),
      ...(one.timestamp === null ? {} : { timestamp: String(one.timestamp) }),
    }))
    const answers = await producer.send({
      topic: call.topic, messages, compression: codecs[call.compression] || CompressionTypes.None,
    })
    const next = new Map(answers.map(one => [one.partition, Number(one.baseOffset)]))
    return chosen.slice(-messages.length).map(partition => {
      const offset = next.get(partition)
      next.set(partition, offset + 1)
      return [partition, offset]
    })
  } finally {
    await producer.disconnect()
  }
}

function headersOf (pairs) {
  const headers = {}
  for (const [name, text] of pairs) {
    if (text === null) throw new Lacking('kafkajs leaves out headers whose value is null')
    headers[name] = name in headers ? [headers[name], toBytes(text)].flat() : toBytes(text)
  }
  return headers
}

const operations = {
  produce,
  async reader_open ({ topic, partition, start, committed }) {
    const reader = new Consumer(randomUUID(), topic, partition, committed === null ? undefined : !committed)
    const { low, high } = await offsets(topic, partition)
    const offset = start === 'earliest' ? low : start === 'latest' ? high : String(start)
    reader.awaited = offset
    await reader.start()
    reader.seek(partition, offset)
    if (start === 'earliest') reader.awaited = null // the first record may be one that is not shown
    return keep(reader)
  },
  async join ({ group, topic, instance_id: instanceId, committed }) {
    if (instanceId !== null) throw new Lacking('kafkajs knows no static membership')
    const member = new Consumer(group, topic, undefined, committed === null ? undefined : !committed)
    member.start().catch(error => { member.failure = error })
    return keep(member)
  },
  async poll ({ handle, timeout_ms: timeoutMs }) {
    const consumer = consumers.get(handle)
    if (consumer.failure) throw consumer.failure
    return consumer.poll(timeoutMs)
  },
  assignment: async ({ handle }) => {
    const consumer = consumers.get(handle)
    return consumer.owned.map(partition => [consumer.topic, partition])
  },
  commit: ({ handle, metadata }) => consumers.get(handle).commit(metadata),
  reader_seek: async ({ handle, offset }) => consumers.get(handle).seek(consumers.get(handle).partition, offset),
  member_seek: async ({ handle, partition, offset }) => consumers.get(handle).seek(partition, offset),
  async close ({ handle }) {
    const { consumer, partition } = consumers.get(handle)
    const left = consumer.disconnect()
    if (partition === undefined) await left // a reader's group is nobody else's; its fetch takes up to 5 s to end
  },
  async create_topic ({ topic, partitions, replication, configs }) {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
    const isNew = await admin.createTopics({
      topics: [{ topic, numPartitions: partitions, replicationFactor: replication, configEntries }],
    })
    if (!isNew) throw new Refused(36, 'createTopics() said false')
  },
  async transactions_open ({ transactional_id: transactionalId }) {
    const producer = kafka.producer({ transactionalId, maxInFlightRequests: 1, idempotent: true })
    await producer.connect()
    return keep({ producer })
  },
  async transaction_begin ({ handle }) {
    const one = consumers.get(handle)
    one.transaction = await one.producer.transaction()
  },
  async transaction_send ({ handle, topic, messages }) {
    await consumers.get(handle).transaction.send({
      topic,
      messages: messages.map(one => ({ key: toBytes(one.key), value: toBytes(one.value), partition: one.partition })),
    })
  },
  async transaction_offsets ({ handle, group, offsets: rows }) {
    const topics = rows.map(([topic, partition, offset]) => (
      { topic, partitions: [{ partition, offset: String(offset) }] }))
    await consumers.get(handle).transaction.sendOffsets({ consumerGroupId: group, topics })
  },
  async transaction_end ({ handle, commit }) {
    const { transaction } = consumers.get(handle)
    await (commit ? transaction.commit() : transaction.abort())
  },
  transactions_close: ({ handle }) => consumers.get(handle).producer.disconnect(),
  delete_topic: ({ topic }) => admin.deleteTopics({ topics: [topic] }),
  list_topics: () => admin.listTopics(),
  async partition_count ({ topic }) {
    return (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length
  },
  async topic_config ({ topic }) {
    const { resources } = await admin.describeConfigs({
      resources: [{ type: ConfigResourceTypes.TOPIC, name: topic }],
    })
    return Object.fromEntries(resources[0].configEntries.map(one => [one.configName, one.configValue]))
  },
  async set_topic_config ({ topic, key, value }) { // the old AlterConfigs: what is not named is reset
    const configEntries = value === null ? [] : [{ name: key, value }]
    await admin.alterConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries }] })
  },
  add_partitions: ({ topic, total }) => admin.createPartitions({ topicPartitions: [{ topic, count: total }] }),
  async delete_records ({ topic, partition, before_offset: before }) {
    await admin.fetchTopicOffsets(topic) // deleteTopicRecords() looks for the leader before it has any metadata
    await admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: String(before) }] })
  },
  async offset ({ topic, partition, query }) {
    if (query === 'max_timestamp') throw new Lacking('kafkajs cannot ask for the highest timestamp')
    const { low, high } = await offsets(topic, partition)
    if (query === 'earliest') return Number(low)
    if (query === 'latest') return Number(high)
    const found = (await admin.fetchTopicOffsetsByTimestamp(topic, query)).find(one => one.partition === partition)
    return found.offset === high ? null : Number(found.offset) // kafkajs puts the end where nothing is that late
  },
  list_groups: async () => (await admin.listGroups()).groups.map(one => one.groupId),
  async describe_group ({ group }) {
    const { groups: [one] } = await admin.describeGroups([group])
    const members = one.members.map(member => {
      const { assignment } = AssignerProtocol.MemberAssignment.decode(member.memberAssignment) || { assignment: {} }
      return [null, Object.entries(assignment).flatMap(([topic, owned]) => owned.map(number => [topic, number]))]
    })
    return { state: one.state, members }
  },
  delete_group: ({ group }) => admin.deleteGroups([group]),
  async group_offsets ({ group, topic }) {
    const [answer] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
    return answer.partitions.filter(one => one.offset !== '-1')
      .map(one => [one.partition, Number(one.offset), one.metadata])
  },
  set_group_offset: ({ group, topic, partition, offset }) =>
    admin.setOffsets({ groupId: group, topic, partitions: [{ partition, offset: String(offset) }] }),
  delete_group_offset: async () => { throw new Lacking("kafkajs cannot delete a group's offsets") },
  log_size: async () => { throw new Lacking('kafkajs cannot describe log directories') },
  async cluster () {
    const { clusterId, brokers } = await admin.describeCluster()
    return [clusterId, brokers.map(one => one.nodeId)]
  },
}

// The error code of the broker, from wherever kafkajs has put it.
function codeOf (error) {
  if (!error) return undefined
  if (typeof error.code === 'number') return error.code
  const [group] = error.groups || []
  const [partition] = error.partitions || []
  return codeOf((error.errors || [])[0]) ?? codeOf(error.cause) ?? codeOf(error.originalError) ??
    (group && group.errorCode) ?? codeOf(partition && partition.error)
}

async function answer (call) {
  try {
    const result = await operations[call.op](call)
    return { ok: result === undefined ? null : result }
  } catch (error) {
    if (error instanceof Lacking) return { lacking: error.message }
    const code = codeOf(error)
    return code === undefined ? { failed: String(error.stack) } : { code, message: error.message }
  }
}

async function main () {
  await admin.connect()
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(JSON.stringify(await answer(JSON.parse(line))) + '\n')
  }
  process.exit(0)
}

main()
