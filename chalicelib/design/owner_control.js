function (newDoc, oldDoc, userCtx, secObj) {
  // The rules of an owner's control database: the owner's devices ask, only the cloud answers.
  // ECMAScript 5, one function, no names from outside: CouchDB runs it in whichever engine it has.
  // oldDoc is what newDoc was made from, not always what it will be seen to replace: with
  // new_edits=false a device can begin a document anew, or go on from an old revision.
  if (userCtx.roles.indexOf('_admin') !== -1) return;

  var MAX_CHARACTERS = 65536;
  // A claim in DynamoDB has the id in its key, which takes 2048 bytes.
  var MAX_ID_CHARACTERS = 512;

  // What a device may write, by what was there; 'null': nothing. All that is not here is refused.
  var MOVES = {
    channel: {
      'null': ['new'], 'new': ['new', 'closing'], ready: ['ready', 'closing'],
      error: ['error', 'new', 'closing']
    },
    subscription: {
      'null': ['active', 'paused', 'stopped'], active: ['active', 'paused', 'stopped'],
      paused: ['active', 'paused', 'stopped'], stopped: ['active', 'paused', 'stopped']
    },
    invitation: {
      'null': ['new'], 'new': ['new', 'withdrawn'], sent: ['sent', 'withdrawn'],
      withdrawn: ['withdrawn', 'new'], declined: ['declined', 'new'],
      expired: ['expired', 'new'], error: ['error', 'new']
    },
    device: { active: ['revoking'] }
  };
  // The states in which a device may delete its document: nothing comes of it any more.
  var ENDS = {
    channel: ['closed'],
    subscription: ['active', 'paused', 'stopped'],
    invitation: ['accepted', 'declined', 'withdrawn', 'expired', 'error'],
    device: ['revoked']
  };
  // What only the cloud writes, beside `error`. Of a device's document it is everything.
  var CLOUDS = {
    channel: ['syncpoint', 'ready_at', 'closed_at', 'reason', 'joined', 'leaving'],
    subscription: ['reason'],
    invitation: [
      'guest', 'invited_by', 'channel_name', 'sent_at', 'expires_at', 'answered_at', 'answer_code'
    ]
  };

  var old = oldDoc && !oldDoc._deleted ? oldDoc : null;
  var type = newDoc.type;
  var from = old ? old.state : null;
  var to = newDoc.state;

  function refuse(reason) {
    throw({ forbidden: reason });
  }

  function has(object, key) {
    return Object.prototype.hasOwnProperty.call(object, key);
  }

  function show(value) {
    return typeof value === 'string' ? value : JSON.stringify(value);
  }

  function equal(one, other) {
    if (one === other) return true;
    if (!one || !other || typeof one !== 'object' || typeof other !== 'object') return false;
    if (Array.isArray(one) !== Array.isArray(other)) return false;
    var keys = Object.keys(one);
    if (keys.length !== Object.keys(other).length) return false;
    for (var i = 0; i < keys.length; i++) {
      if (!has(other, keys[i]) || !equal(one[keys[i]], other[keys[i]])) return false;
    }
    return true;
  }

  function keep(field, why) {
    if (!equal(newDoc[field], old ? old[field] : undefined)) refuse(field + ' ' + why);
  }

  function keepAll(fields) {
    for (var i = 0; i < fields.length; i++) keep(fields[i], 'is for the cloud to write');
  }

  function fieldsOf(doc) {
    return Object.keys(doc).filter(function (key) {
      return key !== 'state' && key.charAt(0) !== '_';
    });
  }

  function checkForm() {
    // The cloud's own fields stay as they are (checkClouds), and must not use up the device's
    // room: `joined` grows with every guest. In a deletion they are nothing but a device's text.
    var isKept = typeof type === 'string' && has(CLOUDS, type) && !newDoc._deleted;
    var clouds = isKept ? CLOUDS[type] : [];
    var characters = 0;
    for (var key in newDoc) {
      // Some servers make it the document's prototype: what is then read here is not in what
      // they store.
      if (!has(newDoc, key) || key === '__proto__') refuse('no field can be called __proto__');
      if (key.charAt(0) !== '_' && clouds.indexOf(key) === -1) {
        characters += key.length + JSON.stringify(newDoc[key]).length;
      }
    }
    if (characters > MAX_CHARACTERS) {
      refuse('documents in a control database have at most ' + MAX_CHARACTERS + ' characters');
    }
    if (newDoc._attachments) refuse('documents in a control database have no attachments');
  }

  function checkDeletion() {
    if (old && (!has(ENDS, old.type) || ENDS[old.type].indexOf(from) === -1)) {
      refuse(show(old.type) + '/' + show(from) + ' is not over yet: it cannot be deleted');
    }
  }

  function checkType() {
    if (typeof type !== 'string' || !has(MOVES, type)) {
      refuse('devices write documents of the types channel, subscription, invitation and device');
    }
    if (old && type !== old.type) refuse('the type of a document does not change');
    if (!old && type === 'device') refuse('a device registers at the registrations endpoint, not here');
    if (!old && String(newDoc._id).length > MAX_ID_CHARACTERS) {
      refuse('_id must have at most ' + MAX_ID_CHARACTERS + ' characters');
    }
    // A device that is to be revoked could begin its own document anew as something else.
    if (type !== 'device' && String(newDoc._id).indexOf('device-') === 0) {
      refuse('an _id that begins with device- is for a device');
    }
    if (type === 'channel' && /^db-[0-9a-f]{32}$/.test(newDoc._id)) {
      refuse('an _id of this form is for a channel that somebody shares with you');
    }
  }

  function checkMove() {
    var moves = has(MOVES[type], from) ? MOVES[type][from] : [];
    if (moves.indexOf(to) === -1) {
      refuse(type + '/' + show(to) + ' is not for a device to write' +
        (old ? ' over ' + show(from) : ''));
    }
  }

  function checkClouds() {
    keepAll(has(CLOUDS, type) ? CLOUDS[type] : fieldsOf(old).concat(fieldsOf(newDoc)));
    // An error goes when the document is asked for again.
    if (to === from || newDoc.error !== undefined) keepAll(['error']);
  }

  function checkChannel() {
    var i, members = newDoc.members, before = (old && old.members) || [];
    if (newDoc.name !== undefined && (typeof newDoc.name !== 'string' ||
        !newDoc.name.length || newDoc.name.length > 80)) {
      refuse('name must be a text of 1 to 80 characters');
    }
    if (newDoc['public'] !== undefined && typeof newDoc['public'] !== 'boolean') {
      refuse('public must be true or false');
    }
    if (members === undefined && !before.length) return;
    if (!Array.isArray(members)) refuse('members must be a list');
    for (i = 0; i < members.length; i++) {
      if (before.indexOf(members[i]) === -1 || members.indexOf(members[i]) !== i) {
        refuse('members come in by invitation only, and once');
      }
    }
  }

  function checkSubscription() {
    // On a device, where this document comes by replication, the roles say nothing of an owner.
    var role = secObj && secObj.members && secObj.members.roles && secObj.members.roles[0];
    var owner = /^owner-([0-9a-f]{32})$/.exec(role);
    if (typeof newDoc.channel !== 'string') refuse('channel must be the id of a channel');
    if (owner && newDoc._id !== newDoc.channel + '-sub-' + owner[1]) {
      refuse('the _id of a subscription is CHANNEL-sub-OWNER: here ' +
        newDoc.channel + '-sub-' + owner[1]);
    }
    if (old) keep('remote', 'does not change');
    if (old && old.reason && to !== 'stopped') refuse('the cloud stopped it: ' + show(old.reason));
  }

  function generationOf(doc) {
    var value = doc.generation === undefined ? 0 : doc.generation;
    var counts = typeof value === 'number' && value >= 0 && value < 1e9 && value % 1 === 0;
    return counts ? value : -1;
  }

  function checkInvitation() {
    if (old && to === from || to === 'withdrawn') {
      keep('generation', 'is raised with the state new only');
      keep('email', 'does not change; write another invitation');
      keep('channel', 'does not change; write another invitation');
    } else if (generationOf(newDoc) === -1) {
      refuse('generation must be a whole number, 0 or more');
    } else if (old && generationOf(newDoc) <= generationOf(old)) {
      refuse('raise generation to send an invitation again');
    }
  }

  checkForm();
  if (newDoc._deleted) return checkDeletion();
  checkType();
  checkMove();
  checkClouds();
  if (type === 'channel') checkChannel();
  if (type === 'subscription') checkSubscription();
  if (type === 'invitation') checkInvitation();
}
