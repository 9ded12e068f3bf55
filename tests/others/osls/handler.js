module.exports.answer = async () => ({ statusCode: 200, body: "{}" });
