function (newDoc, oldDoc, userCtx, secObj) {
  // The rules of an owner's control database: the owner's devices ask, only the cloud answers.
  // ECMAScript 5, one function, no names from outside: CouchDB runs it in whichever engine it has.
  // oldDoc is what newDoc was made from, not always what it will be seen to replace: with
  // new_edits=false a device can begin a document anew, or go on from an old revision.
  // A device may have taken several steps offline. Only their result is seen here, so whatever a
  // chain of steps leads to is accepted.
  if (userCtx.roles.indexOf('_admin') !== -1) return;

  var MAX_CHARACTERS = 65536;
  var MAX_NAME_CHARACTERS = 80;
  var MAX_LEVELS = 20;
  var MAX_NUMBER = 9007199254740991;
  // A claim in DynamoDB has the id in its key, which takes 2048 bytes.
  var MAX_ID_BYTES = 1536;

  // For each type of document, what a chain of a device's steps may lead to:
  //   made     the states where nothing was
  //   moves    by the state that was there: the states
  //   again    the same, if one of the steps asked for it again; then `counter` has risen
  //   fixed    what changes only if it was asked for again
  //   deletes  the states that a deletion may follow
  //   answers  the states in which the cloud acts on an answer
  //   clouds   what only the cloud writes, beside `error`; null: everything
  /** @type {{ [type: string]: TypeRules }} */
  var TYPES = {/* from chalicelib/domain/moves.py */};

  var type = newDoc.type;
  var to = newDoc.state;

  function has(object, key) {
    return typeof key === 'string' && Object.prototype.hasOwnProperty.call(object, key);
  }

  function show(value) {
    return typeof value === 'string' ? value : JSON.stringify(value);
  }

  // In characters, as people count them: not in the halves of a pair.
  function lengthOf(text) {
    return text.replace(/[\uD800-\uDBFF][\uDC00-\uDFFF]/g, 'x').length;
  }

  function bytesOf(text) {
    return text.replace(/[\uD800-\uDBFF][\uDC00-\uDFFF]/g, 'xxxx')
      .replace(/[\u0800-\uFFFF]/g, 'xxx').replace(/[\u0080-\u07FF]/g, 'xx').length;
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

  function differs(field, old) {
    return !equal(newDoc[field], old ? old[field] : undefined);
  }

  function differing(fields, old) {
    for (var i = 0; i < fields.length; i++) {
      if (differs(fields[i], old)) return fields[i];
    }
    return null;
  }

  function fieldsOf(doc) {
    return Object.keys(doc).filter(function (key) {
      return key !== 'state' && key.charAt(0) !== '_';
    });
  }

  function rulesOf(doc) {
    return has(TYPES, doc.type) ? TYPES[doc.type] : null;
  }

  function statesIn(table, state) {
    return has(table, state) ? table[state] : [];
  }

  // Each function below returns what is wrong, or nothing.

  function wrongForm() {
    for (var key in newDoc) {
      // Some servers make it the document's prototype: what is then read here is not in what
      // they store.
      if (!has(newDoc, key) || key === '__proto__') return 'no field can be called __proto__';
    }
    if (newDoc._attachments) return 'documents in a control database have no attachments';
    return wrongValues() || wrongSize();
  }

  function wrongValues() {
    var level = [newDoc];
    for (var levels = 0; level.length; levels++) {
      if (levels > MAX_LEVELS) return 'values are nested at most ' + MAX_LEVELS + ' levels deep';
      var next = [];
      for (var i = 0; i < level.length; i++) {
        var keys = Object.keys(level[i]);
        for (var j = 0; j < keys.length; j++) {
          var value = level[i][keys[j]];
          if (levels === 0 && keys[j].charAt(0) === '_') continue;
          // Beyond it, JavaScript has fewer digits than what CouchDB stores (RFC 7493, 2.2).
          if (typeof value === 'number' && Math.abs(value) > MAX_NUMBER) {
            return 'a number is too large: the largest is ' + MAX_NUMBER;
          }
          if (value && typeof value === 'object') next.push(value);
        }
      }
      level = next;
    }
    return '';
  }

  function wrongSize() {
    // The cloud's own fields stay as they are (wrongClouds), and must not use up the device's
    // room: `joined` grows with every guest. In a deletion they are nothing but a device's text.
    var rules = rulesOf(newDoc);
    var clouds = rules && !newDoc._deleted && rules.clouds || [];
    var characters = 0;
    for (var key in newDoc) {
      if (key.charAt(0) !== '_' && clouds.indexOf(key) === -1) {
        characters += lengthOf(key) + lengthOf(JSON.stringify(newDoc[key]));
      }
    }
    if (characters <= MAX_CHARACTERS) return '';
    return 'documents in a control database have at most ' + MAX_CHARACTERS + ' characters';
  }

  function isDeletable(old) {
    var rules = rulesOf(old);
    return rules !== null && rules.deletes.indexOf(old.state) !== -1;
  }

  // A revision that says the same as the one before undoes what a device did. But not where a
  // device writes nothing at all: it could put `active` over `revoking` for ever. Nor where it would
  // bring an answer back: the one before may be an old one.
  function isUndone(old) {
    var rules = rulesOf(old);
    var isSame = to === old.state && differing(fieldsOf(newDoc).concat(fieldsOf(old)), old) === null;
    return rules !== null && rules.clouds !== null && isSame && rules.answers.indexOf(to) === -1;
  }

  function wrongType(old) {
    var names = Object.keys(TYPES);
    var id = String(newDoc._id);
    if (!has(TYPES, type)) {
      return 'devices write documents of the types ' + names.slice(0, -1).join(', ') + ' and ' +
        names[names.length - 1];
    }
    if (old) return type === old.type ? '' : 'the type of a document does not change';
    if (type === 'device') return 'a device registers at the registrations endpoint, not here';
    if (bytesOf(id) > MAX_ID_BYTES) return '_id must have at most ' + MAX_ID_BYTES + ' bytes';
    // A device that is to be revoked could begin its own document anew as something else.
    if (id.indexOf('device-') === 0) return 'an _id that begins with device- is for a device';
    // It could stand where the cloud writes what somebody shares.
    if (/^db-[0-9a-f]{32}$/.test(id)) {
      return 'an _id of this form is for a channel that somebody shares with you';
    }
    return '';
  }

  function isAskedAgain(old) {
    var rules = TYPES[type];
    var isWithout = statesIn(rules.moves, old.state).indexOf(to) !== -1;
    var isWith = statesIn(rules.again, old.state).indexOf(to) !== -1;
    return isWith && (!isWithout || differs(rules.counter, old));
  }

  function wrongMove(old) {
    var states = old ? statesIn(TYPES[type].moves, old.state) : TYPES[type].made;
    if (states.indexOf(to) !== -1 || (old && isAskedAgain(old))) return '';
    return type + '/' + show(to) + ' is not for a device to write' +
      (old ? ' over ' + show(old.state) : '');
  }

  function countOf(doc) {
    var counter = TYPES[type].counter;
    var value = counter === null || doc[counter] === undefined ? 0 : doc[counter];
    var counts = typeof value === 'number' && value >= 0 && value < 1e9 && value % 1 === 0;
    return counts ? value : -1;
  }

  function wrongCount(old) {
    var rules = TYPES[type];
    if (rules.counter === null) return '';
    if (old && !isAskedAgain(old)) {
      if (differs(rules.counter, old)) return rules.counter + ' is raised with the state new only';
      var changed = differing(rules.fixed, old);
      return changed ? changed + ' does not change; write another ' + type : '';
    }
    if (countOf(newDoc) === -1) return rules.counter + ' must be a whole number, 0 or more';
    if (!old || countOf(newDoc) > countOf(old)) return '';
    return 'raise ' + rules.counter + ' to ask for the ' + type + ' again';
  }

  function wrongClouds(old) {
    var rules = TYPES[type];
    var forged = differing(rules.clouds || fieldsOf(old).concat(fieldsOf(newDoc)), old);
    // An error goes when the document is asked for again.
    var isStill = old && to === old.state && !isAskedAgain(old);
    if (!forged && (isStill || newDoc.error !== undefined)) forged = differing(['error'], old);
    return forged ? forged + ' is for the cloud to write' : '';
  }

  function wrongChannel(old) {
    var name = newDoc.name, members = newDoc.members, before = old ? old.members : undefined;
    if (name !== undefined && (typeof name !== 'string' ||
        !name.length || lengthOf(name) > MAX_NAME_CHARACTERS)) {
      return 'name must be a text of 1 to ' + MAX_NAME_CHARACTERS + ' characters';
    }
    if (newDoc['public'] !== undefined && typeof newDoc['public'] !== 'boolean') {
      return 'public must be true or false';
    }
    if (members === undefined && before === undefined) return '';
    if (!Array.isArray(members)) return 'members must be a list';
    for (var i = 0; i < members.length; i++) {
      if ((before || []).indexOf(members[i]) === -1 || members.indexOf(members[i]) !== i) {
        return 'members come in by invitation only, and once';
      }
    }
    return '';
  }

  function wrongSubscription(old) {
    // On a device, where this document comes by replication, the roles say nothing of an owner.
    var role = secObj && secObj.members && secObj.members.roles && secObj.members.roles[0];
    var owner = /^owner-([0-9a-f]{32})$/.exec(role);
    if (typeof newDoc.channel !== 'string') return 'channel must be the id of a channel';
    if (owner && newDoc._id !== newDoc.channel + '-sub-' + owner[1]) {
      return 'the _id of a subscription is CHANNEL-sub-OWNER: here ' +
        newDoc.channel + '-sub-' + owner[1];
    }
    if (old && differs('remote', old)) return 'remote does not change';
    if (old && old.reason && to !== 'stopped') return 'the cloud stopped it: ' + show(old.reason);
    return '';
  }

  function wrongOver(old) {
    var reason = wrongType(old) || wrongMove(old) || wrongClouds(old) || wrongCount(old);
    if (!reason && type === 'channel') reason = wrongChannel(old);
    if (!reason && type === 'subscription') reason = wrongSubscription(old);
    return reason;
  }

  function whatIsWrong() {
    var old = oldDoc && !oldDoc._deleted ? oldDoc : null;
    var reason = wrongForm();
    if (reason) return reason;
    if (newDoc._deleted) {
      return !old || isDeletable(old) ? '' :
        show(old.type) + '/' + show(old.state) + ' is not over yet: it cannot be deleted';
    }
    if (old && isUndone(old)) return '';
    reason = wrongOver(old);
    // The device may have deleted it and made it anew.
    if (reason && old && isDeletable(old) && !wrongOver(null)) return '';
    return reason;
  }

  var reason = whatIsWrong();
  if (reason) throw({ forbidden: reason });
}
